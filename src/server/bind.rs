use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait for accept; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Whether other sockets of ours may listen on the address already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Another process there is an error.
    Exclusive,
    /// A reload moves the address from one listener to another.
    WithOurOwn,
}

/// One listening socket a worker on one address. With port 0 the first one chooses for all.
pub(super) fn bind(
    address: SocketAddr,
    workers: NonZeroUsize,
    sharing: Sharing,
) -> io::Result<Vec<TcpListener>> {
    if sharing == Sharing::Exclusive && address.port() != 0 {
        refuse_taken(address)?;
    }
    let first = listen(address)?;
    let chosen = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..workers.get() {
        all.push(listen(chosen)?);
    }
    Ok(all)
}

/// SO_REUSEPORT would let a second process of the same user share the port in silence, and take
/// every other connection. Without it the kernel says that somebody listens.
fn refuse_taken(address: SocketAddr) -> io::Result<()> {
    let probe = socket(address)?;
    probe.set_reuse_address(true)?;
    probe.bind(&address.into())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // Both families are named in the configuration, so `[::]` must not take IPv4's port too.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).unwrap()
    }

    #[test]
    fn all_workers_share_the_port_that_the_first_one_got() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let sockets = bind(any, workers(3), Sharing::Exclusive).unwrap();
        let address = sockets[0].local_addr().unwrap();
        assert_ne!(address.port(), 0);
        assert!(
            sockets
                .iter()
                .all(|one| one.local_addr().unwrap() == address)
        );
    }

    #[test]
    fn a_taken_port_is_refused_unless_it_is_ours() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let sockets = bind(any, workers(1), Sharing::Exclusive).unwrap();
        let address = sockets[0].local_addr().unwrap();
        let error = bind(address, workers(1), Sharing::Exclusive).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        bind(address, workers(1), Sharing::WithOurOwn).unwrap();
    }
}
