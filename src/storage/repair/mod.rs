//! Replacing a state that is not to be trusted, in a directory that no node uses meanwhile.
//!
//! ```text
//! DISTRUSTED   why the state in the directory is not to be trusted   mark
//! PEERS        where the other members were last reached             peer_book
//! ```
//!
//! Who finds the state damaged, or different from the others', writes `DISTRUSTED`; from then on no
//! start opens the state. A snapshot of a healthy member becomes the next epoch (`replace`), and the
//! mark goes last. The peers' addresses lie in the state as well; `PEERS` is for when that cannot
//! be read.
//!
//! # What must stay true
//! - A state that was found wanting is never served again: not after a crash at any moment either.
//! - The log keeps what it acknowledged: only entries that contradict what the cluster committed
//!   are cut off.

mod mark;
mod peer_book;
mod replace;

pub(super) use mark::DISTRUSTED;
pub use mark::DistrustMark;
pub(super) use peer_book::PEERS;
pub use peer_book::PeerBook;
pub use replace::{least_index, replace_state};
