//! `alarm list`: what an operator must act on, of every endpoint.

use super::arguments::Global;
use super::cluster::all_answered;
use super::failure::CommandError;
use super::json::AlarmJson;
use super::terminal::Terminal;
use crate::types::NodeStatus;

/// Lists the alarms of every node that answers; nothing when there are none. A node that does not
/// answer is a failure.
pub(super) async fn list(global: &Global, terminal: &mut Terminal) -> Result<(), CommandError> {
    let each = global.client_for_one()?.build()?.status_of_each().await;
    let answered = each.iter().filter_map(|(_, status)| status.as_ref().ok());
    let alarms: Vec<_> = answered.flat_map(alarms).collect();
    if global.json() {
        terminal.json(&alarms)?;
    } else {
        for alarm in &alarms {
            let AlarmJson { alarm, node_id, name, detail } = alarm;
            terminal.line(format!("{alarm} node {node_id} ({name}): {detail}"))?;
        }
    }
    terminal.flush()?;
    all_answered(each)
}

/// The alarms of one node.
fn alarms(status: &NodeStatus) -> Vec<AlarmJson<'_>> {
    let alarm =
        |alarm, detail| AlarmJson { alarm, node_id: status.node_id, name: &status.name, detail };
    let space = status.space;
    let no_space = space.is_full.then(|| {
        let (used, limit) = (space.used_bytes, space.limit_bytes);
        alarm("NoSpace", format!("{used} of {limit} bytes are used, and no member takes more"))
    });
    let untrusted =
        status.untrusted.iter().map(|reason| alarm("Untrusted", reason.name().to_owned()));
    no_space.into_iter().chain(untrusted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ClusterId, Distrust, NodeRole, SpaceUse};

    #[test]
    fn a_full_node_and_one_that_trusts_itself_no_more_have_alarms() {
        let mut status = NodeStatus {
            node_id: 3,
            name: "c".into(),
            cluster_id: ClusterId(1),
            leader_id: None,
            role: NodeRole::Follower,
            term: 1,
            last_log_index: 1,
            applied_index: 1,
            revision: 1,
            compact_revision: 0,
            db_size_bytes: 1,
            version: String::new(),
            untrusted: Vec::new(),
            space: SpaceUse { used_bytes: 7, limit_bytes: 9, is_full: false },
            deletes: Vec::new(),
        };
        assert!(alarms(&status).is_empty());
        status.space.is_full = true;
        status.untrusted = vec![Distrust::StateDiffers { index: 5 }];
        let names: Vec<_> = alarms(&status).iter().map(|alarm| alarm.alarm).collect();
        assert_eq!(names, ["NoSpace", "Untrusted"]);
    }
}
