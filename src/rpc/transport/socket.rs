//! What every TCP connection of ours is set to.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::limits::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES};

/// No delay: our writes are gathered already, and an answer must not wait for the next one.
/// Keepalive: an end that vanished without a word (a lost machine, a cut network) is noticed even
/// on a connection that says nothing. tokio offers the first only, hence socket2.
///
/// While something that was sent is not acknowledged, keepalive does not run: the connection would
/// wait for retransmissions that come ever more rarely. `unacknowledged_max` ends it, where the
/// system has such a limit (Linux); none = the system's own, which is a quarter of an hour.
pub fn configure(stream: &TcpStream, unacknowledged_max: Option<Duration>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(unacknowledged_max)?;
    #[cfg(not(target_os = "linux"))]
    let _ = unacknowledged_max;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd", windows))]
    let keepalive = keepalive.with_retries(KEEPALIVE_PROBES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
