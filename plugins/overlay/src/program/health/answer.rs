//! What is answered to which request.

use cni::NetworkName;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::agent::{Command, Status};
use crate::program::board::{Board, Unable};
use crate::program::metrics;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Root, by the socket.
    Root,
    /// Any user of this node.
    Anyone,
}

/// An answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Answers a request.
pub(crate) fn answer(
    board: &Board,
    asker: Asker,
    method: &Method,
    path: &str,
    query: Option<&str>,
) -> Answer {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts[..] {
        [word @ ("healthz" | "readyz" | "metrics" | "networks")] => {
            if !is_read(method) {
                return not_allowed("GET, HEAD");
            }
            match word {
                "healthz" => probe(board, "local", |status| status.local_done),
                "readyz" => probe(board, "in step with the engine", |status| status.listed),
                "metrics" => text(StatusCode::OK, metrics::TYPE, metrics::text(&board.statuses())),
                _ => json(&json!({"networks": board.statuses()})),
            }
        }
        ["networks", network] => {
            match network_of(network).and_then(|network| board.of(&network, json::<Status>)) {
                _ if !is_read(method) => not_allowed("GET, HEAD"),
                Some(answer) => answer,
                None => plain(StatusCode::NOT_FOUND, format!("this node has no network {network:?}\n")),
            }
        }
        ["networks", network, "sync"] if asker == Asker::Root => {
            if *method == Method::POST {
                sync(board, network, query)
            } else {
                not_allowed("POST")
            }
        }
        _ => plain(
            StatusCode::NOT_FOUND,
            "there are /healthz, /readyz, /metrics, /networks and /networks/NAME\n".to_owned(),
        ),
    }
}

fn is_read(method: &Method) -> bool {
    [Method::GET, Method::HEAD].contains(method)
}

fn network_of(text: &str) -> Option<NetworkName> {
    NetworkName::new(text).ok()
}

/// "ok", or a line for each network that is not.
fn probe(board: &Board, what: &str, is_well: fn(&Status) -> bool) -> Answer {
    let line = |status: &Status| {
        let reason = status.reason.as_deref().unwrap_or("not done yet");
        (!is_well(status)).then(|| {
            format!(
                "{} is not {what}: {reason}
",
                status.network
            )
        })
    };
    let lines = board.map(line).into_iter().flatten().collect::<Vec<_>>().concat();
    match lines.as_str() {
        "" => plain(StatusCode::OK, "ok\n".to_owned()),
        _ => plain(StatusCode::SERVICE_UNAVAILABLE, lines),
    }
}

fn sync(board: &Board, network: &str, query: Option<&str>) -> Answer {
    let force = match query {
        None | Some("" | "force=false") => false,
        Some("force=true") => true,
        Some(_) => return plain(StatusCode::BAD_REQUEST, "the only parameter is force=true\n".to_owned()),
    };
    let outcome = network_of(network)
        .ok_or(Unable::Unknown)
        .and_then(|name| board.command(&name, Command::Sync { force }));
    match outcome {
        Ok(()) => plain(StatusCode::ACCEPTED, "asked\n".to_owned()),
        Err(Unable::Unknown) => {
            plain(StatusCode::NOT_FOUND, format!("this node has no network {network:?} that runs\n"))
        }
        Err(Unable::Busy) => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "it is behind with earlier requests: try again\n".to_owned(),
        ),
    }
}

fn not_allowed(allowed: &'static str) -> Answer {
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, format!("allowed: {allowed}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn plain(code: StatusCode, body: String) -> Answer {
    text(code, "text/plain; charset=utf-8", body)
}

fn json<T: Serialize>(value: &T) -> Answer {
    match serde_json::to_string(value) {
        Ok(body) => text(StatusCode::OK, "application/json", body + "\n"),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(code: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
