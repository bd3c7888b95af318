//! Why a node does not trust what it holds.

use serde::{Deserialize, Serialize};

/// Why a node does not trust what it holds. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Distrust {
    /// A record of its state failed its check, or is not where it must be.
    #[error("its state is damaged: {detail}")]
    StateDamaged {
        /// Which record, and what is wrong with it.
        detail: String,
    },
    /// Its state is not the one that the majority holds.
    #[error("its state differs from the majority's after entry {index}")]
    StateDiffers {
        /// The entry after which the states were compared.
        index: u64,
    },
    /// Log entries that it had acknowledged are gone.
    #[error("its log lost acknowledged entries{}", up_to(*until))]
    LogLostEntries {
        /// The last of them, where anything tells; it must have them again, from a leader.
        until: Option<u64>,
    },
    /// The claim that this start made to the node's identity is not applied yet.
    #[error("its claim to its identity is not applied yet")]
    Unclaimed,
    /// It looks through what it holds, after a death that may have left damage.
    #[error("it verifies what it holds")]
    Verifying,
}

impl Distrust {
    /// The name of every reason, as metrics and JSON have it.
    pub const NAMES: [&'static str; 5] =
        ["state_damaged", "state_differs", "log_lost_entries", "unclaimed", "verifying"];

    /// Whether it is made good by replacing the state, and by nothing else.
    pub fn reseeds(&self) -> bool {
        match self {
            Self::StateDamaged { .. } | Self::StateDiffers { .. } => true,
            Self::LogLostEntries { .. } | Self::Unclaimed | Self::Verifying => false,
        }
    }

    /// The reason's name: one of [`NAMES`](Self::NAMES).
    pub fn name(&self) -> &'static str {
        match self {
            Self::StateDamaged { .. } => "state_damaged",
            Self::StateDiffers { .. } => "state_differs",
            Self::LogLostEntries { .. } => "log_lost_entries",
            Self::Unclaimed => "unclaimed",
            Self::Verifying => "verifying",
        }
    }
}

fn up_to(until: Option<u64>) -> String {
    until.map_or_else(String::new, |until| format!(" up to {until}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_and_names_of_reasons_are_pinned() {
        let reasons = [
            (Distrust::StateDamaged { detail: "x".to_owned() }, &[0, 1, b'x'][..]),
            (Distrust::StateDiffers { index: 300 }, &[1, 0xac, 2]),
            (Distrust::LogLostEntries { until: Some(7) }, &[2, 1, 7]),
            (Distrust::Unclaimed, &[3]),
            (Distrust::Verifying, &[4]),
        ];
        for ((reason, bytes), name) in reasons.into_iter().zip(Distrust::NAMES) {
            assert_eq!(postcard::to_stdvec(&reason).expect("encodable"), bytes, "{reason}");
            assert_eq!(reason.name(), name);
        }
    }
}
