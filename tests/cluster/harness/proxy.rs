//! A connection to a node that can be cut and be slow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::eventually;
use super::ports::free_address;

/// Bytes passed on at once.
const PIECE_BYTES: usize = 16 * 1_024;

/// Pieces on their way at one time; beyond that the sender waits.
const PIECES_ON_THE_WAY_MAX: usize = 256;

/// How the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Open,
    /// At most so many bytes a second, all connections and both directions together.
    Slow(u64),
    /// What goes in comes out this much later, in either direction.
    Far(Duration),
    /// What is sent is taken and goes nowhere. A connection on which that happened stays so, as
    /// when a device in between has forgotten it; its ends notice nothing.
    Silent,
    /// Connections end, and new ones are turned away.
    Cut,
}

/// Stands before a node's address and passes on what comes, as its link is.
pub struct Proxy {
    pub address: SocketAddr,
    link: watch::Sender<Link>,
    turned_away: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Before `target`, with an open link. Whether anybody listens there does not matter yet.
    pub async fn before(target: SocketAddr) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).await.expect("a free address");
        let (link, links) = watch::channel(Link::Open);
        let turned_away = Arc::<AtomicU64>::default();
        let accepting = tokio::spawn(accept(listener, target, links, turned_away.clone()));
        Self { address, link, turned_away, accepting }
    }

    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// Waits until the link, which is cut, has been missed `times` more.
    pub async fn wait_missed(&self, times: u64) {
        let goal = self.turned_away.load(Ordering::Relaxed) + times;
        let missed = async || (self.turned_away.load(Ordering::Relaxed) >= goal).then_some(());
        eventually("the cut link is missed", missed).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    links: watch::Receiver<Link>,
    turned_away: Arc<AtomicU64>,
) {
    let next = Arc::new(Mutex::new(Instant::now()));
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        if *links.borrow() == Link::Cut {
            turned_away.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        tokio::spawn(pass(near, target, links.clone(), next.clone()));
    }
}

/// One connection, until either end or the link ends it.
async fn pass(
    near: TcpStream,
    target: SocketAddr,
    mut links: watch::Receiver<Link>,
    next: Arc<Mutex<Instant>>,
) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    for end in [&near, &far] {
        // Without it the link is only slower.
        let _ = end.set_nodelay(true);
    }
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let there = pump(near_in, far_out, links.clone(), next.clone());
    let back = pump(far_in, near_out, links.clone(), next);
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = links.wait_for(|link| *link == Link::Cut) => {}
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    links: watch::Receiver<Link>,
    next: Arc<Mutex<Instant>>,
) {
    let (on_the_way, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_ON_THE_WAY_MAX);
    let taking = async move {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            let link = *links.borrow();
            let arrives = match link {
                Link::Silent => break,
                Link::Far(one_way) => Instant::now() + one_way,
                Link::Slow(bytes_per_second) => {
                    let mut next = next.lock().await;
                    let begins = (*next).max(Instant::now());
                    *next =
                        begins + Duration::from_secs_f64(length as f64 / bytes_per_second as f64);
                    begins
                }
                Link::Open | Link::Cut => Instant::now(),
            };
            if on_the_way.send((arrives, piece[..length].to_vec())).await.is_err() {
                return;
            }
            if let Link::Slow(_) = link {
                sleep_until(arrives).await;
            }
        }
        if *links.borrow() == Link::Silent {
            // Until one end gives up: it is taken from them and goes nowhere.
            while let Ok(1..) = from.read(&mut piece).await {}
        }
    };
    let giving = async {
        while let Some((arrives, piece)) = arriving.recv().await {
            sleep_until(arrives).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(taking, giving);
}
