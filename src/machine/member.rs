//! What a member may publish of itself.

use crate::types::limits::{ADDRESS_BYTES_MAX, NODE_NAME_BYTES_MAX};
use crate::types::{OperationError, PeerAddress};

/// Checks a member's name and addresses: that they can be shown to people and dialled.
pub(super) fn validate_member(
    address: &PeerAddress,
    client_addr: &str,
) -> Result<(), OperationError> {
    validate_name(&address.name)?;
    validate_address("peer", &address.peer_addr)?;
    validate_address("client", client_addr)
}

fn validate_name(name: &str) -> Result<(), OperationError> {
    if name.is_empty() || name.len() > NODE_NAME_BYTES_MAX {
        return Err(invalid(format!(
            "the name has {} bytes; give 1 to {NODE_NAME_BYTES_MAX}",
            name.len()
        )));
    }
    if name.chars().any(char::is_control) {
        return Err(invalid("the name has a control character".to_owned()));
    }
    Ok(())
}

fn validate_address(whose: &str, address: &str) -> Result<(), OperationError> {
    if address.len() > ADDRESS_BYTES_MAX {
        return Err(invalid(format!(
            "the {whose} address has {} bytes; at most {ADDRESS_BYTES_MAX} are allowed",
            address.len()
        )));
    }
    let is_dialable = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.chars().any(|c| c.is_control() || c.is_whitespace())
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    match is_dialable {
        true => Ok(()),
        false => Err(invalid(format!("the {whose} address {address:?} is not HOST:PORT"))),
    }
}

fn invalid(reason: String) -> OperationError {
    OperationError::InvalidMember { reason }
}
