//! Put, get, list, change and delete, against a node on this machine:
//!
//! ```text
//! chainfire serve &
//! cargo run --example quickstart --no-default-features
//! ```
//!
//! Another cluster: `CHAINFIRE_ENDPOINTS=host1:4601,host2:4601`.

use chainfire::auth::Credentials;
use chainfire::client::{Client, Condition, DEFAULT_ENDPOINT, Step, Txn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoints = std::env::var("CHAINFIRE_ENDPOINTS");
    let endpoints = endpoints.as_deref().unwrap_or(DEFAULT_ENDPOINT);
    let client = Client::builder()
        .endpoints(endpoints.split(','))
        .credentials(&Credentials::from_environment()?)
        .connect()
        .await?;

    let put = client.put("quickstart/color", "blue").await?;
    println!("stored at revision {}", put.revision);

    let pair = client.get("quickstart/color").await?.expect("it was just stored");
    println!("{} = {}", text(&pair.key), text(&pair.value));

    // Change it only if nobody else did meanwhile.
    let txn = Txn::new()
        .when([Condition::mod_revision("quickstart/color").equals(pair.mod_revision)])
        .then([Step::put("quickstart/color", "green"), Step::put("quickstart/changed", "once")]);
    println!("changed: {}", client.txn(txn).await?.succeeded);

    // History: the old value is still there.
    let old = client.get("quickstart/color").revision(put.revision).await?;
    println!("at revision {}: {:?}", put.revision, old.map(|pair| text(&pair.value)));

    let mut pages = client.prefix("quickstart/").pages();
    while let Some(page) = pages.next().await? {
        for pair in page.kvs {
            println!("{} = {}", text(&pair.key), text(&pair.value));
        }
    }

    let deleted = client.delete_range(chainfire::types::KeyRange::prefix("quickstart/")).await?;
    println!("deleted {} keys", deleted.deleted);
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
