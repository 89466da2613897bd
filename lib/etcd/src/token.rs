//! The token that a user gets for the password: etcd's service `Auth`.

use tokio::sync::Mutex;
use tonic::metadata::{Ascii, MetadataValue};

use crate::call::Session;
use crate::config::User;
use crate::messages::{AuthenticateRequest, AuthenticateResponse};
use crate::status::{Refusal, Verdict, verdict};

/// Gets a token when one is needed, for all calls of a client.
pub(crate) struct Tokens {
    user: Option<User>,
    current: Mutex<Token>,
}

/// Who the client is for the server.
enum Token {
    /// Not asked for yet, or no longer valid.
    Missing,
    /// The server has no users.
    NotNeeded,
    Is(MetadataValue<Ascii>),
}

impl Token {
    fn value(&self) -> Option<&MetadataValue<Ascii>> {
        if let Self::Is(value) = self { Some(value) } else { None }
    }
}

impl Tokens {
    pub(crate) fn of(user: Option<User>) -> Self {
        Self { user, current: Mutex::new(Token::Missing) }
    }

    /// The token, if one is needed. Calls that come meanwhile wait for it.
    pub(crate) async fn get(&self, session: &Session) -> Result<Option<MetadataValue<Ascii>>, Verdict> {
        let Some(user) = &self.user else { return Ok(None) };
        let mut current = self.current.lock().await;
        if matches!(*current, Token::Missing) {
            *current = authenticate(user, session).await?;
        }
        Ok(current.value().cloned())
    }

    /// The token that was used is no longer valid. Another call may have renewed it already.
    pub(crate) async fn forget(&self, used: Option<&MetadataValue<Ascii>>) {
        let mut current = self.current.lock().await;
        if current.value() == used {
            *current = Token::Missing;
        }
    }
}

async fn authenticate(user: &User, session: &Session) -> Result<Token, Verdict> {
    let other = |text: String| Verdict::Refused(Refusal::Other(text));
    let password = std::fs::read_to_string(&user.password_file)
        .map_err(|error| other(format!("read {}: {error}", user.password_file.display())))?;
    let password = password.trim_end_matches(['\n', '\r']).to_owned();
    let request = AuthenticateRequest { name: user.name.clone(), password };
    match session.unary("/etcdserverpb.Auth/Authenticate", request).await {
        Ok(AuthenticateResponse { token }) => {
            let token = MetadataValue::try_from(token);
            let mut token = token.map_err(|_| other("the server's token cannot be sent back".to_owned()))?;
            // Debug output leaves it out.
            token.set_sensitive(true);
            Ok(Token::Is(token))
        }
        Err(status) if status.message().contains("authentication is not enabled") => Ok(Token::NotNeeded),
        Err(status) => Err(match verdict(&status) {
            // Whatever call this is for, it was not sent.
            Verdict::Lost(why) => Verdict::NotExecuted(why),
            verdict => verdict,
        }),
    }
}
