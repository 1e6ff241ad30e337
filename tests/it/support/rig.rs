//! A scripted server on a network in memory, and a supervisor that dials it. With time paused,
//! every time is exact.

use super::{LONG, TonicServer, millis, say};
use prost::Message as _;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
};
use std::time::Duration;
use tonic::Status;
use tonic_supervisor::{
    Address, CallOptions, Config, ConfigBuilder, SupervisedChannel, Supervisor,
    testing::{MemoryNetwork, Script, ScriptedServer},
};

/// Where servers in memory listen.
pub(crate) const ADDRESS: &str = "server:50051";
/// Where a configuration that names no server dials.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:50051";

/// The defaults, aimed at [`ADDRESS`].
pub(crate) fn config() -> ConfigBuilder {
    Config::builder().host("server").port(50_051)
}

/// The defaults, aimed at `target`.
pub(crate) fn config_for(target: &Address) -> ConfigBuilder {
    Config::builder().host(target.host()).port(target.port())
}

/// A supervisor that dials over `network`, whose random numbers are always the same.
pub(crate) fn supervise(network: &MemoryNetwork, config: ConfigBuilder) -> Supervisor {
    supervise_checked(network, config.build().expect("a test's configuration is valid"))
}

/// The same, from a configuration that is checked already.
pub(crate) fn supervise_checked(network: &MemoryNetwork, config: Config) -> Supervisor {
    Supervisor::builder(config).connector(network.connector()).rng_seed(1).spawn()
}

/// The same as [`supervise`], which knows methods by these descriptors.
pub(crate) fn described(network: &MemoryNetwork, config: ConfigBuilder, set: &[u8]) -> Supervisor {
    let config = config.build().expect("a test's configuration is valid");
    let builder = Supervisor::builder(config).connector(network.connector()).rng_seed(1);
    builder.descriptor_set(set).expect("a descriptor set").spawn()
}

/// A supervisor that dials over TCP.
pub(crate) fn supervise_tcp(config: ConfigBuilder) -> Supervisor {
    Supervisor::builder(config.build().expect("a test's configuration is valid"))
        .rng_seed(1)
        .spawn()
}

/// A real server on loopback, and a supervisor that dials it.
pub(crate) async fn with_tonic_server(config: ConfigBuilder) -> (TonicServer, Supervisor) {
    let server = TonicServer::start().await;
    let supervisor = supervise_tcp(config.host("127.0.0.1").port(server.port));
    (server, supervisor)
}

/// What protoc would write of a service `Echo` in `package` whose only method, `Say`, is unary or
/// streams its answers.
pub(crate) fn descriptors(package: &str, server_streaming: bool) -> Vec<u8> {
    let method = MethodDescriptorProto {
        name: Some("Say".into()),
        server_streaming: Some(server_streaming),
        ..MethodDescriptorProto::default()
    };
    let service =
        ServiceDescriptorProto { name: Some("Echo".into()), method: vec![method], options: None };
    let file = FileDescriptorProto {
        package: Some(package.into()),
        service: vec![service],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

/// A server, and a supervisor that has begun to dial it.
pub(crate) struct Rig {
    pub(crate) network: MemoryNetwork,
    pub(crate) server: ScriptedServer,
    pub(crate) supervisor: Supervisor,
}

impl Rig {
    /// The server echoes until it is told otherwise.
    pub(crate) async fn new(config: ConfigBuilder) -> Self {
        Self::with_script(Script::echo(), config).await
    }

    /// The server answers by `script`.
    pub(crate) async fn with_script(script: impl Into<Script>, config: ConfigBuilder) -> Self {
        let network = MemoryNetwork::new();
        let server = ScriptedServer::builder().script(script).on_memory(&network, ADDRESS).await;
        let supervisor = supervise(&network, config);
        Self { network, server, supervisor }
    }

    /// The same, once there is a link.
    pub(crate) async fn ready(self) -> Self {
        self.supervisor.wait_ready(LONG).await.expect("Ready");
        self
    }

    pub(crate) fn channel(&self) -> SupervisedChannel {
        self.supervisor.channel()
    }

    /// One unary call.
    pub(crate) async fn call(&self, options: CallOptions) -> Result<String, Status> {
        say(&self.channel(), "hello", options).await
    }

    /// The times at which calls arrived at the server.
    pub(crate) fn arrivals_at(&self) -> Vec<Duration> {
        self.server.arrivals().iter().map(|arrival| millis(arrival.at)).collect()
    }

    /// The header `grpc-previous-rpc-attempts` of each call that arrived at the server.
    pub(crate) fn previous_attempts(&self) -> Vec<Option<String>> {
        self.server.arrivals().into_iter().map(|arrival| arrival.previous_attempts).collect()
    }
}
