//! The planted loss: a majority's disks go back to what they were a moment ago.

use crate::cluster::Cluster;
use crate::system::shell;

pub async fn strike(c: &mut Cluster) {
    for slot in 0..3 {
        c.kill(slot);
    }
    for slot in 0..2 {
        let dir = c.slots[slot].dir.display();
        shell(&format!("cp -a --sparse=always {dir} {dir}.old")).expect("a copy");
    }
    for slot in 0..3 {
        c.start(slot);
    }
    c.rest(4_000).await;
    for slot in 0..3 {
        c.kill(slot);
    }
    for slot in 0..2 {
        let dir = c.slots[slot].dir.display();
        shell(&format!("rm -rf {dir} && mv {dir}.old {dir}")).expect("put back");
    }
    // The third, which has it all, is away until the two have gone on without it.
    c.slots[2].wanted = false;
    for slot in 0..2 {
        c.start(slot);
    }
    c.rest(4_000).await;
    c.start(2);
    c.rest(3_000).await;
}
