use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use super::config::Bind;
use super::error::AdminError;

/// A connection of either kind. The pointer is nothing beside what an admin request does.
pub(super) type Stream = Box<dyn Io>;

pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(super) enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, SocketFile),
}

/// Removes the socket's file when the door is closed.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A file that somebody has removed already is as good.
        fs::remove_file(&self.0).ok();
    }
}

impl Listener {
    pub(super) async fn bind(bind: &Bind) -> Result<Self, AdminError> {
        match bind {
            Bind::Tcp(address) => bind_tcp(*address).await,
            Bind::Unix(path) => bind_unix(path),
        }
        .map_err(|source| AdminError::Listen {
            place: match bind {
                Bind::Tcp(address) => address.to_string(),
                Bind::Unix(path) => path.display().to_string(),
            },
            source,
        })
    }

    /// Where it listens; the port is the real one when 0 was asked for.
    pub(super) fn place(&self) -> Bind {
        match self {
            Self::Tcp(_, address) => Bind::Tcp(*address),
            Self::Unix(_, file) => Bind::Unix(file.0.clone()),
        }
    }

    /// Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener, _) => Ok(Box::new(listener.accept().await?.0)),
            Self::Unix(listener, _) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

async fn bind_tcp(address: SocketAddr) -> io::Result<Listener> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok(Listener::Tcp(listener, address))
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    let listener = match UnixListener::bind(path) {
        // A killed node leaves its file behind; nobody answers on it.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    let file = SocketFile(path.to_owned());
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(Listener::Unix(listener, file))
}

fn is_abandoned(path: &Path) -> bool {
    StdUnixStream::connect(path)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
