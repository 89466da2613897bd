//! Refusals as errors of a call: who was refused, and the cure.

use crate::call::Call;
use crate::config::Config;
use crate::error::Kind;
use crate::status::Refusal;

pub(crate) fn kind(refusal: Refusal, config: &Config, endpoint: String, call: &Call) -> Kind {
    match refusal {
        Refusal::Denied => Kind::Denied { endpoint, user: who(config), cure: call.cure.clone() },
        Refusal::Credentials => Kind::Credentials { endpoint, why: password(config) },
        Refusal::Compacted => Kind::Compacted { endpoint, revision: None },
        Refusal::NoSpace => Kind::NoSpace(endpoint),
        Refusal::TooLarge => Kind::TooLarge(endpoint),
        Refusal::AnswerTooLarge => Kind::AnswerTooLarge(endpoint),
        Refusal::LeaseGone => Kind::LeaseGone(endpoint),
        Refusal::Other(text) => Kind::Refused(endpoint, text),
    }
}

/// The server does not know who asks, although the client told all that it can.
pub(crate) fn token(config: &Config, endpoint: String) -> Kind {
    let who = who(config);
    let why = if config.user.is_some() {
        format!("the token that {who} just got is refused: are the endpoints those of one cluster?")
    } else {
        format!("this cluster has users, and {who} is none of them: configure a user with its password")
    };
    Kind::Credentials { endpoint, why }
}

fn who(config: &Config) -> String {
    let certificate = config.tls.as_ref().and_then(|tls| tls.client.as_ref());
    match (&config.user, certificate) {
        (Some(user), _) => format!("user {}", user.name),
        (None, Some(identity)) => format!("the common name of {}", identity.certificate.display()),
        (None, None) => "a client without user and certificate".to_owned(),
    }
}

fn password(config: &Config) -> String {
    let Some(user) = &config.user else { return "the user is not known".to_owned() };
    let (name, file) = (&user.name, user.password_file.display());
    format!("user {name} or the password in {file} is wrong: etcdctl user passwd {name}")
}
