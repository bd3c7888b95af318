//! Every node's own state, now and at earlier revisions: all the same.

use chainfire::types::{KeyRange, KeyValue};

use crate::cluster::Cluster;

/// Histories shorter than this are compared at their end only.
const REVISIONS_MIN: u64 = 40;

/// Compares the nodes that live, now and at `times` revisions spread over the history.
pub async fn nodes(c: &Cluster, last: u64, times: u64) -> Vec<String> {
    let mut differences = vec![];
    let mut revisions = vec![0];
    if last > REVISIONS_MIN {
        revisions.extend((1..=times).map(|i| last * i / (times + 1) + 1));
    }
    for at in revisions {
        let mut first: Option<(usize, u64, Vec<KeyValue>)> = None;
        for slot in c.live() {
            let (revision, pairs) = match read(c, slot, at).await {
                Ok(read) => read,
                Err(error) => {
                    differences.push(format!("slot {slot} at {at}: {error}"));
                    continue;
                }
            };
            let Some((other, r, expected)) = &first else {
                first = Some((slot, revision, pairs));
                continue;
            };
            if (at == 0 && *r != revision) || *expected != pairs {
                let (n, m) = (expected.len(), pairs.len());
                differences.push(format!(
                    "slots {other} and {slot} differ at {at}: revisions {r} and {revision}, {n} \
                     and {m} pairs"
                ));
            }
        }
    }
    differences
}

/// All that one node holds at a revision (0 = now).
pub async fn read(c: &Cluster, slot: usize, at: u64) -> Result<(u64, Vec<KeyValue>), String> {
    let client = c.client(&[slot], 8_000, 4_000, false);
    let mut range = client.range(KeyRange::all()).serializable();
    if at > 0 {
        range = range.revision(at);
    }
    let mut pages = range.pages();
    let (mut pairs, mut revision) = (vec![], 0);
    while let Some(page) = pages.next().await.map_err(|error| error.to_string())? {
        revision = page.revision;
        pairs.extend(page.kvs);
    }
    Ok((revision, pairs))
}
