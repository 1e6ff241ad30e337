//! Who may: the matrix of operations and identities, watches and claims that lose their grant,
//! swaps under load, secrets, and `serve --auth` from outside.

mod matrix;
mod secrets;
#[cfg(unix)]
mod serve;
mod swaps;
mod waits;

use http::{Request, header::AUTHORIZATION};
use std::{
    fmt::Write as _,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::body::Body;
use tonic_supervisor::agent_queue::{
    agent_queue_client::AgentQueueClient,
    agent_queue_server::AgentQueueServer,
    server::{
        Authenticated, Budget, Budgeted, Grants, LiveGrants, MemoryStore, Service, Settings, Token,
    },
};

/// The service as `serve` builds it, without a network.
pub(crate) type Server = Authenticated<Budgeted<AgentQueueServer<Service<MemoryStore>>>>;

pub(crate) fn token(number: u8) -> Token {
    Token::new([number; 32])
}

/// An identity's lines: its name, the numbers of its tokens, and its grants in YAML.
pub(crate) type Line<'a> = (&'a str, &'a [u8], &'a str);

/// The text of a file with these identities.
pub(crate) fn text(identities: &[Line<'_>]) -> String {
    let mut text = String::from("auth:\n  identities:\n");
    for (name, tokens, grants) in identities {
        let hashes: Vec<_> = tokens
            .iter()
            .map(|number| format!("{:?}", token(*number).hash().hexadecimal()))
            .collect();
        write!(text, "    - {{ name: {name}, token_sha256: [{}]", hashes.join(", "))
            .expect("a string");
        match *grants {
            "" => text.push_str(" }\n"),
            grants => writeln!(text, ", grants: [{grants}] }}").expect("a string"),
        }
    }
    text
}

pub(crate) fn grants(identities: &[Line<'_>]) -> Grants {
    Grants::parse("auth.yaml", &text(identities)).expect("valid")
}

pub(crate) fn server(live: &Arc<LiveGrants>) -> Server {
    let budget = Budget::default();
    let service = Service::new(MemoryStore::new(Settings::default())).with_budget(budget.clone());
    let service = service.with_authorizer(live.clone());
    Authenticated::new(Budgeted::new(AgentQueueServer::new(service), budget), Some(live.clone()))
}

/// A generated client whose every request has this header.
pub(crate) fn client<S>(inner: S, authorization: Option<String>) -> AgentQueueClient<Signed<S>>
where
    S: tower_service::Service<Request<Body>, Response = http::Response<Body>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    AgentQueueClient::new(Signed { inner, authorization })
}

pub(crate) fn bearer(number: u8) -> Option<String> {
    Some(format!("Bearer {}", token(number).reveal()))
}

/// Adds the header.
#[derive(Clone)]
pub(crate) struct Signed<S> {
    inner: S,
    authorization: Option<String>,
}

impl<S: tower_service::Service<Request<Body>>> tower_service::Service<Request<Body>> for Signed<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> S::Future {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.parse().expect("a value"));
        }
        self.inner.call(request)
    }
}
