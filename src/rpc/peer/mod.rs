//! What nodes call on each other, and the connections for it.
//!
//! A caller asks [`PeerConnections`] for a [`PeerConnection`] to a node, by id, address and
//! [`Lane`], and calls on it what the [`Peer`] service offers. Connecting, reconnecting, time
//! limits and telling "never sent" from "nobody knows" happen behind it.

mod backoff;
mod calls;
mod connections;
mod dialer;
mod incarnations;
mod lane_link;
mod life;
mod messages;
mod round_trip;
mod seed;

pub use calls::{PeerCallError, PeerConnection};
pub use connections::PeerConnections;
pub use dialer::{NoPeerObserver, PeerDialer, PeerObserver};
pub use incarnations::{Caller, Incarnations};
pub use messages::{
    AppendReply, AppendRequest, ForwardedWrite, HashReport, Peer, PeerClient, PeerRefusal,
    PeerRequest, PeerResponse, ServePeer, SnapshotChunk, SnapshotOffer, SnapshotProgress,
    TransferLeaderRequest, VoteReply, VoteRequest,
};
pub use seed::{
    SeedFailure, SeedPhase, SeedReport, SeedRequest, SnapshotName, SnapshotPart, SnapshotStatus,
};

pub use super::transport::Lane;

use super::transport::FrameLimits;
use super::transport::limits::{PEER_FRAME_BYTES_MAX, SNAPSHOT_FRAME_BYTES_MAX};

/// How long frames may be on a lane, either way.
pub fn frame_limits(lane: Lane) -> FrameLimits {
    let max = match lane {
        Lane::Control | Lane::Append => PEER_FRAME_BYTES_MAX,
        Lane::Snapshot => SNAPSHOT_FRAME_BYTES_MAX,
    };
    FrameLimits { incoming_bytes_max: max, outgoing_bytes_max: max }
}
