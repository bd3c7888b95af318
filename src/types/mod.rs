//! Plain data: what clients ask, what the cluster answers, what the log holds.
//!
//! Nothing here does I/O, reads a clock or draws a random number. Everything else in the crate
//! imports this room; this room imports nothing.
//!
//! Types that derive `Serialize` travel on the wire or lie on a disk in the postcard encoding.
//! Their fields and variants are only ever **appended**: postcard numbers variants by position
//! and fields by order. Golden tests pin the bytes (`docs/formats.md`).

pub mod access;
pub mod answer;
pub mod calendar;
pub mod claim;
pub mod cluster;
pub mod command;
pub mod consensus;
pub mod distrust;
pub mod error;
pub mod event;
pub mod join;
pub mod key_range;
pub mod limits;
pub mod membership_call;
mod nesting;
pub mod operation;
pub mod revision;
pub mod space;
pub mod staged_delete;
pub mod state_hash;

pub use access::{
    AccessAnswer, AccessEdit, AccessError, AccessKey, AccessOperation, AccessReply, AccessRequest,
    AccessTables, Asked, CreatedKey, Grants, KeyRecord, Permission, PermissionKind, Role, User,
    WhoAmI,
};
pub use answer::{
    Answer, CompactAnswer, DeleteRangeAnswer, KeyValue, OperationAnswer, PutAnswer, RangeAnswer,
    TxnAnswer, Written,
};
pub use claim::{CLAIMS_CONTINUED_MAX, Claim, ClaimOrder, StartClaim};
pub use cluster::{ClusterId, Member, MemberRole, NodeId, NodeRole, NodeStatus};
pub use command::{
    ClientId, Command, Principal, RequestId, RequestName, SignatureKey, SignedRequest,
};
pub use consensus::{LogEntry, LogEntryPayload, LogId, MembershipConfig, PeerAddress, Vote};
pub use distrust::Distrust;
pub use error::{OperationError, RequestError};
pub use event::{Event, EventKind};
pub use join::{
    ClusterAnswer, ClusterOperation, JoinId, JoinPhase, JoinProgress, JoinRecord, JoinRequest,
    JoinTarget, JoinTicket, Roster,
};
pub use key_range::KeyRange;
pub use membership_call::{ClusterReply, ClusterRequest, JoinStatus, Standing};
pub use operation::{
    CompactRequest, Compare, CompareOperator, CompareTarget, DeleteRangeRequest, Operation,
    PutRequest, RangeRequest, Sort, SortOrder, SortTarget, TxnOperation, TxnRequest,
};
pub use revision::{Revision, VersionMeta};
pub use space::{DeleteProgress, SpaceUse};
pub use staged_delete::StagedDelete;
pub use state_hash::StateHash;
