//! What must fit together in a configuration.

use std::net::SocketAddr;

use super::initial_cluster::{check_name, is_host_and_port};
use super::{
    ConfigError, HttpConfig, LimitsConfig, NodeConfig, RaftConfig, SnapshotConfig, StorageConfig,
};
use crate::types::limits::{ANSWER_BYTES_MAX, REQUEST_BYTES_MAX};

/// Below this an environment cannot hold its own tables and one large request.
const MAP_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// Below this, the largest request of the HTTP gateway would find no room for its answer.
const HTTP_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// Below this, one piece of a snapshot would take longer than its receiver is waited for.
const SNAPSHOT_RATE_MIN: u64 = 64 * 1024;

impl NodeConfig {
    /// Says the first thing that does not fit.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_name(&self.name)
            .map_err(|reason| ConfigError::InvalidName { name: self.name.clone(), reason })?;
        self.validate_auth()?;
        self.validate_listeners()?;
        self.validate_advertised()?;
        self.validate_founders()?;
        self.validate_joining()?;
        self.raft.validate()?;
        self.storage.validate()?;
        self.snapshot.validate()?;
        self.limits.validate()?;
        self.http.validate()?;
        self.validate_tls()
    }

    fn validate_tls(&self) -> Result<(), ConfigError> {
        let peers_ca = self.tls.peer.as_ref().map(|peer| peer.ca.as_ref());
        if peers_ca == Some(None) {
            return Err(ConfigError::NoPeerCa);
        }
        let clients_ca = self.tls.client.as_ref().map(|client| client.ca.as_ref());
        if clients_ca == Some(None) && peers_ca.is_none() && !self.contacts().is_empty() {
            return Err(ConfigError::NoMemberCa);
        }
        Ok(())
    }

    fn validate_auth(&self) -> Result<(), ConfigError> {
        match (&self.auth.cluster_key, self.auth.insecure_no_auth) {
            (Some(_), true) => Err(ConfigError::KeyWithoutUse),
            (None, false) if !self.is_alone() => Err(ConfigError::NoClusterKey),
            _ => Ok(()),
        }
    }

    fn validate_listeners(&self) -> Result<(), ConfigError> {
        let listeners = [
            ("listen_client", self.listen_client),
            ("listen_peer", self.listen_peer),
            ("listen_http", self.listen_http),
        ];
        for (place, (first, address)) in listeners.into_iter().enumerate() {
            if self.auth.insecure_no_auth && !address.ip().is_loopback() {
                return Err(ConfigError::OpenToTheNetwork { field: first, address });
            }
            for (second, other) in listeners.into_iter().skip(place + 1) {
                // Port 0 is a free port each time.
                if address == other && address.port() != 0 {
                    return Err(ConfigError::ListenersCollide { first, second, address });
                }
            }
        }
        Ok(())
    }

    fn validate_advertised(&self) -> Result<(), ConfigError> {
        let advertised = [
            ("advertise_client", &self.advertise_client),
            ("advertise_peer", &self.advertise_peer),
            ("advertise_http", &self.advertise_http),
        ];
        let (client, peer) = (self.listen_client, self.listen_peer);
        let published = [
            ("advertise_client", self.advertised_client(client)),
            ("advertise_peer", self.advertised_peer(peer)),
        ];
        if let Some((field, value)) = published.into_iter().find(|(_, it)| is_unspecified(it)) {
            return Err(ConfigError::UnspecifiedAddress { field, value });
        }
        for (field, value) in advertised {
            match value {
                Some(value) if !is_host_and_port(value) => {
                    let value = value.chars().take(64).collect();
                    return Err(ConfigError::InvalidAddress { field, value });
                }
                Some(value) if is_unspecified(value) => {
                    return Err(ConfigError::UnspecifiedAddress { field, value: value.clone() });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn validate_joining(&self) -> Result<(), ConfigError> {
        let lists = [("join", &self.join), ("bootstrap_from", &self.bootstrap_from)];
        for (field, contacts) in lists {
            if let Some(wrong) = contacts.iter().find(|contact| !is_host_and_port(contact)) {
                let value = wrong.chars().take(64).collect();
                return Err(ConfigError::InvalidAddress { field, value });
            }
        }
        let founds = self.initial_cluster.is_some();
        let ways = [founds, !self.join.is_empty(), !self.bootstrap_from.is_empty()];
        if ways.into_iter().filter(|given| *given).count() > 1 {
            return Err(ConfigError::SeveralWaysIn);
        }
        Ok(())
    }

    fn validate_founders(&self) -> Result<(), ConfigError> {
        let Some(cluster) = &self.initial_cluster else { return Ok(()) };
        let address = self.advertised_peer(self.listen_peer);
        let name = self.name.clone();
        match cluster.peer_addr(&self.name) {
            None => Err(ConfigError::NotAFounder { name, address }),
            Some(said) if said != address => {
                Err(ConfigError::FounderElsewhere { name, said: said.to_owned(), address })
            }
            Some(_) => Ok(()),
        }
    }
}

/// Whether an address is that of a listener on every interface, which nobody can connect to.
fn is_unspecified(address: &str) -> bool {
    address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_unspecified())
}

impl RaftConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        at_least_one(&[
            ("raft.heartbeat_ms", self.heartbeat_ms),
            ("raft.round_trip_max_ms", self.round_trip_max_ms),
            ("raft.quorum_loss_probe_interval_ms", self.quorum_loss_probe_interval_ms),
            ("raft.snapshot_every_entries", self.snapshot_every_entries),
            ("raft.append_entries_max", self.append_entries_max),
            ("raft.log_write_entries_max", self.log_write_entries_max),
            ("raft.request_batch_max", self.request_batch_max),
        ])?;
        check(
            self.election_timeout_min_ms > self.heartbeat_ms.saturating_mul(2),
            "raft.election_timeout_min_ms",
            self.election_timeout_min_ms,
            "more than twice raft.heartbeat_ms, or one late heartbeat starts an election",
        )?;
        check(
            self.election_timeout_max_ms > self.election_timeout_min_ms,
            "raft.election_timeout_max_ms",
            self.election_timeout_max_ms,
            "more than raft.election_timeout_min_ms, or candidates keep colliding",
        )?;
        check(
            self.election_timeout_max_ms <= 600_000,
            "raft.election_timeout_max_ms",
            self.election_timeout_max_ms,
            "at most 600000",
        )?;
        check(
            self.round_trip_max_ms >= self.heartbeat_ms.saturating_mul(2),
            "raft.round_trip_max_ms",
            self.round_trip_max_ms,
            "at least twice raft.heartbeat_ms, or a late answer counts as none",
        )?;
        check(
            self.round_trip_max_ms <= 10_000,
            "raft.round_trip_max_ms",
            self.round_trip_max_ms,
            "at most 10000",
        )?;
        check(
            self.quorum_loss_probe_interval_ms >= self.lease_ms().saturating_mul(2),
            "raft.quorum_loss_probe_interval_ms",
            self.quorum_loss_probe_interval_ms,
            "at least twice raft.election_timeout_max_ms and four times raft.round_trip_max_ms, so \
             that the others find another leader first",
        )?;
        check(
            self.append_bytes_max >= REQUEST_BYTES_MAX as u64,
            "raft.append_bytes_max",
            self.append_bytes_max,
            "at least 1572864, the size of the largest request",
        )
    }
}

impl StorageConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        for (field, value) in [
            ("storage.log_map_bytes", self.log_map_bytes),
            ("storage.state_map_bytes", self.state_map_bytes),
        ] {
            check(value >= MAP_BYTES_MIN, field, value, "at least 4194304")?;
            check(value <= 1 << 46, field, value, "at most 70368744177664 (64 TiB)")?;
            check(value % 65_536 == 0, field, value, "a multiple of 65536")?;
        }
        let quota = self.quota_bytes;
        let bounds = "at least 2097152";
        check(quota >= MAP_BYTES_MIN / 2, "storage.quota_bytes", quota, bounds)?;
        for (field, value) in [
            ("storage.log_tail_bytes_max", self.log_tail_bytes_max),
            ("storage.memory_table_bytes_max", self.memory_table_bytes_max),
        ] {
            let one_request = REQUEST_BYTES_MAX as u64;
            let bounds = "at least 1572864, the size of the largest request";
            check(value >= one_request, field, value, bounds)?;
        }
        Ok(())
    }
}

impl SnapshotConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        let rate = self.transfer_bytes_per_second;
        check(
            rate == 0 || rate >= SNAPSHOT_RATE_MIN,
            "snapshot.transfer_bytes_per_second",
            rate,
            "0 for no limit, or at least 65536",
        )?;
        check(
            (1_000..=3_600_000).contains(&self.transfer_stall_ms),
            "snapshot.transfer_stall_ms",
            self.transfer_stall_ms,
            "between 1000 and 3600000, an hour",
        )
    }
}

impl LimitsConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        at_least_one(&[
            ("limits.client_connections_max", self.client_connections_max),
            ("limits.peer_connections_max", self.peer_connections_max),
            ("limits.connection_requests_max", self.connection_requests_max),
            ("limits.node_requests_max", self.node_requests_max),
            ("limits.handshake_timeout_ms", self.handshake_timeout_ms),
            ("limits.idle_timeout_ms", self.idle_timeout_ms),
            ("limits.deadline_max_ms", self.deadline_max_ms),
            ("limits.shutdown_timeout_ms", self.shutdown_timeout_ms),
        ])?;
        for (field, value) in [
            ("limits.connection_bytes_max", self.connection_bytes_max),
            ("limits.node_bytes_max", self.node_bytes_max),
        ] {
            let one_answer = ANSWER_BYTES_MAX as u64;
            check(value >= one_answer, field, value, "at least 2097152, one largest answer")?;
            check(value <= u64::from(u32::MAX), field, value, "at most 4294967295")?;
        }
        check(
            self.deadline_max_ms <= 86_400_000,
            "limits.deadline_max_ms",
            self.deadline_max_ms,
            "at most 86400000, one day",
        )
    }
}

impl HttpConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        at_least_one(&[
            ("http.connections_max", self.connections_max),
            ("http.request_timeout_ms", self.request_timeout_ms),
            ("http.idle_timeout_ms", self.idle_timeout_ms),
            ("http.ready_timeout_ms", self.ready_timeout_ms),
        ])?;
        check(
            self.bytes_max >= HTTP_BYTES_MIN,
            "http.bytes_max",
            self.bytes_max,
            "at least 16777216, one largest request with its answer",
        )?;
        check(
            self.bytes_max <= u64::from(u32::MAX),
            "http.bytes_max",
            self.bytes_max,
            "at most 4294967295",
        )?;
        check(
            self.ready_timeout_ms <= self.request_timeout_ms,
            "http.ready_timeout_ms",
            self.ready_timeout_ms,
            "at most http.request_timeout_ms, or a probe is cut before it is answered",
        )
    }
}

fn at_least_one(fields: &[(&'static str, u64)]) -> Result<(), ConfigError> {
    fields.iter().try_for_each(|(field, value)| check(*value > 0, field, *value, "at least 1"))
}

fn check(
    holds: bool,
    field: &'static str,
    value: u64,
    bounds: &'static str,
) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::OutOfBounds { field, value, bounds }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AuthConfig, TlsSection};

    type Edit = fn(&mut NodeConfig);

    /// The error of a default configuration after one edit.
    fn error_after(edit: impl FnOnce(&mut NodeConfig)) -> ConfigError {
        let mut config = NodeConfig::default();
        edit(&mut config);
        let error = config.validate().expect_err("this edit makes it invalid");
        assert!(!error.to_string().contains('\n'), "one line: {error}");
        error
    }

    #[test]
    fn without_authentication_every_listener_stays_on_loopback() {
        let open = "0.0.0.0:4601".parse().expect("an address");
        for edit in [
            (|config, address| config.listen_client = address) as fn(&mut NodeConfig, _),
            |config, address| config.listen_peer = address,
            |config, address| config.listen_http = address,
        ] {
            let error = error_after(|config| {
                config.auth.insecure_no_auth = true;
                edit(config, open);
            });
            assert!(matches!(error, ConfigError::OpenToTheNetwork { .. }), "{error}");
            assert!(error.to_string().contains("loopback"), "{error}");
        }
        let mut config = NodeConfig {
            listen_client: open,
            advertise_client: Some("node1.example.org:4601".to_owned()),
            ..NodeConfig::default()
        };
        config.validate().expect("signed requests may come from anywhere");
        config.auth.insecure_no_auth = true;
        config.auth.cluster_key = Some("key.toml".into());
        assert!(matches!(config.validate(), Err(ConfigError::KeyWithoutUse)));
    }

    #[test]
    fn what_is_advertised_is_an_address_that_others_can_connect_to() {
        fn open() -> SocketAddr {
            SocketAddr::from(([0, 0, 0, 0], 4601))
        }
        for (edit, field) in [
            ((|config| config.listen_client = open()) as fn(&mut NodeConfig), "advertise_client"),
            (|config| config.listen_peer = open(), "advertise_peer"),
            (|config| config.advertise_peer = Some("[::]:4602".into()), "advertise_peer"),
            (|config| config.advertise_http = Some("0.0.0.0:80".into()), "advertise_http"),
        ] {
            let error = error_after(edit).to_string();
            assert!(error.starts_with(field) && error.contains("nobody can connect"), "{error}");
        }
    }

    #[test]
    fn several_nodes_need_the_cluster_s_keys() {
        let edits: [Edit; 3] = [
            |c| c.join = vec!["h:1".into()],
            |c| c.bootstrap_from = vec!["h:1".into()],
            |c| c.initial_cluster = Some("default=127.0.0.1:4602".parse().expect("valid")),
        ];
        for edit in edits {
            assert!(matches!(error_after(edit), ConfigError::NoClusterKey));
            for auth in [
                AuthConfig { cluster_key: Some("key.toml".into()), ..AuthConfig::default() },
                AuthConfig { insecure_no_auth: true, ..AuthConfig::default() },
            ] {
                let mut config = NodeConfig { auth, ..NodeConfig::default() };
                edit(&mut config);
                config.validate().expect("valid");
            }
        }
    }

    #[test]
    fn a_node_has_what_verifies_the_others() {
        let section = |ca: Option<&str>| TlsSection {
            certificate: "node.pem".into(),
            key: "node.key".into(),
            ca: ca.map(Into::into),
        };
        let error = error_after(|config| config.tls.peer = Some(section(None)));
        assert!(matches!(error, ConfigError::NoPeerCa), "{error}");
        let joining = |config: &mut NodeConfig| {
            config.auth.insecure_no_auth = true;
            config.join = vec!["h:1".into()];
            config.tls.client = Some(section(None));
        };
        let error = error_after(joining);
        assert!(matches!(error, ConfigError::NoMemberCa), "{error}");
        let mut config = NodeConfig::default();
        joining(&mut config);
        config.tls.peer = Some(section(Some("ca.pem")));
        config.validate().expect("the CA of the peers will do");
    }

    #[test]
    fn listeners_have_their_own_ports() {
        let error = error_after(|config| config.listen_http = config.listen_client);
        assert!(matches!(error, ConfigError::ListenersCollide { .. }), "{error}");
        let free = "127.0.0.1:0".parse().expect("an address");
        let config = NodeConfig { listen_client: free, listen_http: free, ..NodeConfig::default() };
        config.validate().expect("port 0 is a free port each time");
    }

    #[test]
    fn a_founder_is_where_the_others_look_for_it() {
        let error = error_after(|config| {
            config.auth.insecure_no_auth = true;
            config.initial_cluster = Some("other=127.0.0.1:4602".parse().expect("valid"));
        });
        assert!(matches!(error, ConfigError::NotAFounder { .. }), "{error}");
        let error = error_after(|config| {
            config.auth.insecure_no_auth = true;
            config.initial_cluster = Some("default=127.0.0.1:9".parse().expect("valid"));
        });
        assert!(matches!(error, ConfigError::FounderElsewhere { .. }), "{error}");
        let mut config = NodeConfig {
            initial_cluster: Some("default=node1:9".parse().expect("valid")),
            auth: AuthConfig { cluster_key: Some("key.toml".into()), ..AuthConfig::default() },
            ..NodeConfig::default()
        };
        config.advertise_peer = Some("node1:9".into());
        config.validate().expect("the advertised address is what counts");
    }

    #[test]
    fn a_node_comes_in_one_way() {
        let edits: [Edit; 3] = [
            |c| c.bootstrap_from = vec!["h:2".into()],
            |c| c.initial_cluster = Some("default=127.0.0.1:4602".parse().expect("valid")),
            |c| c.join.push("4601".into()),
        ];
        for edit in edits {
            error_after(|config| {
                config.auth.insecure_no_auth = true;
                config.join = vec!["h:1".into()];
                edit(config);
            });
        }
    }

    #[test]
    fn a_name_and_the_advertised_addresses_are_checked() {
        let error = error_after(|config| config.name = "a b".into());
        assert!(matches!(error, ConfigError::InvalidName { .. }), "{error}");
        let error = error_after(|config| config.advertise_client = Some("4601".into()));
        assert!(
            matches!(error, ConfigError::InvalidAddress { field: "advertise_client", .. }),
            "{error}"
        );
    }

    #[test]
    fn numbers_out_of_bounds_are_named() {
        let edits: [(&str, Edit); 12] = [
            ("raft.heartbeat_ms", |c| c.raft.heartbeat_ms = 0),
            ("raft.election_timeout_min_ms", |c| c.raft.election_timeout_min_ms = 200),
            ("raft.election_timeout_max_ms", |c| c.raft.election_timeout_max_ms = 400),
            ("raft.election_timeout_max_ms", |c| c.raft.election_timeout_max_ms = 600_001),
            ("raft.round_trip_max_ms", |c| c.raft.round_trip_max_ms = 199),
            ("raft.round_trip_max_ms", |c| c.raft.round_trip_max_ms = 10_001),
            ("raft.quorum_loss_probe_interval_ms", |c| c.raft.round_trip_max_ms = 601),
            ("raft.append_bytes_max", |c| c.raft.append_bytes_max = 1),
            ("storage.state_map_bytes", |c| c.storage.state_map_bytes = 4097 * 4096 + 1),
            ("storage.log_tail_bytes_max", |c| c.storage.log_tail_bytes_max = 0),
            ("limits.node_bytes_max", |c| c.limits.node_bytes_max = 1),
            ("http.ready_timeout_ms", |c| c.http.ready_timeout_ms = 60_000),
        ];
        for (expected, edit) in edits {
            match error_after(edit) {
                ConfigError::OutOfBounds { field, .. } => assert_eq!(field, expected),
                error => panic!("{error}"),
            }
        }
    }
}
