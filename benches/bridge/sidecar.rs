//! A sidecar's process before a server: `tonic-supervisor proxy`, or Envoy. Killed when dropped.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

pub(crate) struct Sidecar {
    process: Child,
    pub(crate) address: SocketAddr,
    /// Its configuration.
    _file: tempfile::NamedTempFile,
}

impl Sidecar {
    pub(crate) fn proxy(server: SocketAddr) -> Self {
        let file = written(&format!("grpc:\n  host: 127.0.0.1\n  port: {}\n", server.port()));
        let mut process = Command::new(env!("CARGO_BIN_EXE_tonic-supervisor"))
            .args(["--json", "proxy", "--listen", "127.0.0.1:0", "--config"])
            .arg(file.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the proxy starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let address = said["address"].as_str().and_then(|text| text.parse().ok());
        Self { process, address: address.expect("an address"), _file: file }
    }

    /// None unless `BRIDGE_ENVOY` names its program.
    pub(crate) fn envoy(server: SocketAddr) -> Option<Self> {
        let program = env::var_os("BRIDGE_ENVOY")?;
        let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let address = free.expect("a free port");
        let file = written(&envoy_config(address, server));
        let process = Command::new(program)
            .args(["--log-level", "off", "--disable-hot-restart", "--config-path"])
            .arg(file.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Envoy starts");
        let sidecar = Self { process, address, _file: file };
        for _ in 0..200 {
            if TcpStream::connect(address).is_ok() {
                return Some(sidecar);
            }
            #[expect(clippy::disallowed_methods, reason = "nothing else runs yet")]
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("Envoy does not listen");
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn written(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    file
}

/// The type of what speaks HTTP in Envoy.
const MANAGER: &str = concat!(
    "type.googleapis.com/envoy.extensions.filters.network.",
    "http_connection_manager.v3.HttpConnectionManager"
);

/// Cleartext HTTP/2 in, cleartext HTTP/2 out, no retries, no log.
fn envoy_config(listen: SocketAddr, server: SocketAddr) -> String {
    let place = |address: SocketAddr| {
        format!(
            "{{ socket_address: {{ address: {}, port_value: {} }} }}",
            address.ip(),
            address.port()
        )
    };
    format!(
        r#"static_resources:
  listeners:
  - address: {listen}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {MANAGER}
          codec_type: HTTP2
          stat_prefix: bench
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: server, timeout: 0s }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: server
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    load_assignment:
      cluster_name: server
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {server} }}
"#,
        listen = place(listen),
        server = place(server),
    )
}
