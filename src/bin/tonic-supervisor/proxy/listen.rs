//! Where the proxy listens: an address, or a Unix socket of mode 0600.
//!
//! A socket's file is made in a folder that nobody else may enter, and moved to its place when it
//! has its mode: between `bind` and `chmod` anybody could connect where the umask allows it.

use crate::{CliError, address::Address, listening::Listener};
use std::{
    fmt, fs, io,
    net::{IpAddr, SocketAddr},
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener as StdListener, UnixStream as StdStream},
    },
    path::{Path, PathBuf},
    str::FromStr,
};
use tokio::net::{TcpListener, UnixListener};

/// Where to listen, as the argument has it.
#[derive(Clone, Debug)]
pub(super) enum ListenAddress {
    Tcp(Address),
    Unix(PathBuf),
}

/// Where it listens.
pub(super) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// It listens.
pub(super) struct Listening {
    pub(super) listener: Listener,
    pub(super) place: Place,
    /// A Unix socket's file; its drop removes it.
    pub(super) socket: Option<SocketFile>,
}

/// A socket's file, which goes with this.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number: another process may have put its own there.
    file: (u64, u64),
}

impl ListenAddress {
    pub(super) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    pub(super) async fn listen(&self) -> Result<Listening, CliError> {
        match self {
            Self::Tcp(address) => {
                let error = format!("cannot listen on {address}");
                let listener = async { TcpListener::bind(&*address.lookup().await?).await };
                let listener = listener.await.map_err(CliError::failed(&error))?;
                let place = Place::Tcp(listener.local_addr().map_err(CliError::failed(&error))?);
                Ok(Listening { listener: Listener::Tcp(listener), place, socket: None })
            }
            Self::Unix(path) => {
                let error = format!("cannot listen on unix:{}", path.display());
                let (listener, socket) = bind(path).map_err(CliError::failed(&error))?;
                let place = Place::Unix(path.clone());
                Ok(Listening { listener: Listener::Unix(listener), place, socket: Some(socket) })
            }
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("must be unix:PATH, as in unix:/run/proxy.sock".into()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|rule| format!("{rule}; or unix:PATH")),
        }
    }
}

impl Place {
    /// Whether only this machine's processes can reach it.
    pub(super) fn is_on_this_machine(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(address) => match address.ip() {
                IpAddr::V6(ip) => ip.to_canonical().is_loopback(),
                ip => ip.is_loopback(),
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    refuse_taken(path)?;
    if path.file_name().is_none() {
        return Err(io::Error::other("the path names no file"));
    }
    // Clients need the whole path, which a system bounds; what is bound below is another one.
    std::os::unix::net::SocketAddr::from_pathname(path)?;
    // A name that nobody has, other processes of this number included.
    let folder = path.with_file_name(format!(".{:06x}", rand::random::<u32>() >> 8));
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let made = folder.join("s");
    let bound = StdListener::bind(&made).and_then(|listener| {
        fs::set_permissions(&made, fs::Permissions::from_mode(0o600))?;
        let found = fs::metadata(&made)?;
        fs::rename(&made, path)?;
        Ok((listener, (found.dev(), found.ino())))
    });
    if bound.is_err() {
        let _ = fs::remove_file(&made);
    }
    let _ = fs::remove_dir(&folder);
    let (listener, file) = bound?;
    let socket = SocketFile { path: path.to_owned(), file };
    listener.set_nonblocking(true)?;
    Ok((UnixListener::from_std(listener)?, socket))
}

/// The file of a server that has gone is replaced; nothing else is.
fn refuse_taken(path: &Path) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file, and no socket"));
    }
    match StdStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there")),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let same = |found: fs::Metadata| (found.dev(), found.ino()) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(same) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_this_users_alone_and_goes_with_its_server() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("proxy.sock");
        let (_listener, socket) = bind(&path).expect("bound");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let entries = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(entries, 1, "nothing else is left there");
        let taken = bind(&path).map(drop).expect_err("somebody listens");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_dead_server_left_is_replaced_and_what_is_no_socket_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("proxy.sock");
        drop(StdListener::bind(&path).expect("bound"));
        assert!(path.exists());
        let (_listener, old) = bind(&path).expect("replaced");
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "mine").expect("written");
        assert!(bind(&path).is_err());
        drop(old);
        assert_eq!(fs::read(&path).expect("there"), b"mine", "another's is left alone");
    }

    #[tokio::test]
    async fn a_path_that_no_client_could_use_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let room = 107 - folder.path().as_os_str().len() - 1;
        assert!(bind(&folder.path().join("s".repeat(room))).is_ok());
        let refused = bind(&folder.path().join("s".repeat(room + 1))).map(drop);
        assert_eq!(refused.expect_err("too long").kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn an_address_or_a_socket_is_read_and_anything_else_refused() {
        assert!(matches!("unix:/run/a.sock".parse(), Ok(ListenAddress::Unix(_))));
        assert!(matches!("localhost:1".parse(), Ok(ListenAddress::Tcp(_))));
        assert!("unix:".parse::<ListenAddress>().is_err());
        let error = "/run/a.sock".parse::<ListenAddress>().expect_err("neither");
        assert!(error.ends_with("or unix:PATH"), "{error}");
    }
}
