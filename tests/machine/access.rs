//! Users, roles and keys.

use chainfire::machine::StoredAnswer;
use chainfire::types::access::{KEYS_PER_USER_MAX, PERMISSIONS_PER_ROLE_MAX, ROOT};
use chainfire::types::{
    AccessError, AccessKey, AccessOperation, Answer, Command, KeyRange, Operation, OperationError,
    Permission, PermissionKind, Principal, RequestName,
};

use crate::support::memory_view::MemoryView;
use crate::support::requests::{compact, put};

fn name(name: &str) -> String {
    name.to_owned()
}

fn key(id: &str, user: &str) -> AccessKey {
    let sealed_secret = format!("sealed {id}").into();
    AccessKey { id: name(id), user: name(user), version: 1, active: true, sealed_secret }
}

fn ask(store: &mut MemoryView, operation: AccessOperation) -> StoredAnswer {
    store.execute(Operation::Access(operation))
}

/// Asks for a change that must be made; answers the revision it raised the tables to.
fn change(store: &mut MemoryView, operation: AccessOperation) -> u64 {
    let before = store.access.revision;
    match ask(store, operation) {
        Ok(Answer::Access(answer)) => {
            assert_eq!(answer.auth_revision, store.access.revision);
            assert_eq!(answer.auth_revision, before + 1, "every change raises the revision");
            answer.auth_revision
        }
        other => panic!("not changed: {other:?}"),
    }
}

fn refused(store: &mut MemoryView, operation: AccessOperation) -> AccessError {
    let before = store.access.clone();
    match ask(store, operation) {
        Err(OperationError::Access(error)) => {
            assert_eq!(store.access, before, "a refusal changes nothing");
            assert!(!error.to_string().contains('\n'));
            error
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn grant(role: &str, kind: PermissionKind, range: KeyRange) -> AccessOperation {
    let permission = Permission { kind, range };
    AccessOperation::GrantPermission { role: name(role), permission }
}

/// A cluster that has begun.
fn begun() -> MemoryView {
    let mut store = MemoryView::new();
    change(&mut store, AccessOperation::Bootstrap(key("R1", ROOT)));
    store
}

/// A cluster with a second administrator, `ann`, whose key is A1.
fn with_ann() -> MemoryView {
    let mut store = begun();
    change(&mut store, AccessOperation::AddUser { name: name("ann") });
    change(&mut store, AccessOperation::GrantRole { user: name("ann"), role: name(ROOT) });
    change(&mut store, AccessOperation::CreateKey(key("A1", "ann")));
    store
}

#[test]
fn a_cluster_begins_once_with_root_and_its_key() {
    let mut store = begun();
    assert_eq!(store.revision, 1, "users are no change of the key space");
    let root = &store.access.users[ROOT];
    assert!(root.active && root.roles.contains(ROOT));
    assert_eq!(store.access.keys["R1"].user, ROOT);
    let again = ask(&mut store, AccessOperation::Bootstrap(key("R2", "eve")));
    assert!(matches!(again, Ok(Answer::Access(answer)) if answer.auth_revision == 1));
    assert_eq!(store.access.keys.len(), 1);
    change(&mut store, AccessOperation::AddUser { name: name("ann") });
}

#[test]
fn the_last_administrator_stays_whatever_way_it_would_go() {
    let ways: [fn() -> AccessOperation; 5] = [
        || AccessOperation::RemoveUser { name: name(ROOT) },
        || AccessOperation::SetUserActive { name: name(ROOT), active: false },
        || AccessOperation::RevokeRole { user: name(ROOT), role: name(ROOT) },
        || AccessOperation::SetKeyActive { id: name("R1"), active: false },
        || AccessOperation::RemoveKey { id: name("R1") },
    ];
    for way in ways {
        let mut store = begun();
        assert_eq!(refused(&mut store, way()), AccessError::LastAdministrator);
        // Somebody with the role but no key cannot manage users.
        change(&mut store, AccessOperation::AddUser { name: name("bob") });
        change(&mut store, AccessOperation::GrantRole { user: name("bob"), role: name(ROOT) });
        assert_eq!(refused(&mut store, way()), AccessError::LastAdministrator);
        let mut store = with_ann();
        change(&mut store, way());
        let left = refused(&mut store, AccessOperation::RemoveUser { name: name("ann") });
        assert_eq!(left, AccessError::LastAdministrator);
    }
}

#[test]
fn a_user_has_two_keys_at_most_active_or_not() {
    let mut store = begun();
    change(&mut store, AccessOperation::CreateKey(key("R2", ROOT)));
    change(&mut store, AccessOperation::SetKeyActive { id: name("R1"), active: false });
    let third = AccessOperation::CreateKey(key("R3", ROOT));
    let max = KEYS_PER_USER_MAX as u64;
    let error = AccessError::TooManyKeys { user: name(ROOT), max };
    assert_eq!(refused(&mut store, third.clone()), error);
    change(&mut store, AccessOperation::RemoveKey { id: name("R1") });
    change(&mut store, third);
    let taken = AccessOperation::CreateKey(key("R3", ROOT));
    assert_eq!(refused(&mut store, taken), AccessError::KeyExists { id: name("R3") });
    let nobody = AccessOperation::CreateKey(key("N1", "nobody"));
    assert_eq!(refused(&mut store, nobody), AccessError::UserNotFound { name: name("nobody") });
}

#[test]
fn a_user_that_goes_takes_its_keys_along_and_a_role_leaves_its_users() {
    let mut store = with_ann();
    change(&mut store, AccessOperation::AddRole { name: name("reader") });
    for user in [ROOT, "ann"] {
        change(&mut store, AccessOperation::GrantRole { user: name(user), role: name("reader") });
    }
    change(&mut store, AccessOperation::RemoveRole { name: name("reader") });
    assert!(store.access.users.values().all(|user| !user.roles.contains("reader")));
    change(&mut store, AccessOperation::RemoveUser { name: name("ann") });
    assert!(!store.access.keys.contains_key("A1") && store.access.keys.contains_key("R1"));
}

#[test]
fn a_permission_replaces_the_one_for_the_same_range() {
    let mut store = begun();
    change(&mut store, AccessOperation::AddRole { name: name("r") });
    change(&mut store, grant("r", PermissionKind::Read, KeyRange::prefix("a/")));
    change(&mut store, grant("r", PermissionKind::ReadWrite, KeyRange::prefix("a/")));
    change(&mut store, grant("r", PermissionKind::Write, KeyRange::single("a/")));
    let kinds: Vec<_> = store.access.roles["r"].permissions.iter().map(|p| p.kind).collect();
    assert_eq!(kinds, [PermissionKind::ReadWrite, PermissionKind::Write]);
    let range = KeyRange::prefix("a/");
    change(&mut store, AccessOperation::RevokePermission { role: name("r"), range: range.clone() });
    let again = AccessOperation::RevokePermission { role: name("r"), range };
    assert_eq!(refused(&mut store, again), AccessError::PermissionNotGranted { role: name("r") });
    for number in 1..PERMISSIONS_PER_ROLE_MAX {
        change(&mut store, grant("r", PermissionKind::Read, KeyRange::single(number.to_string())));
    }
    let more = grant("r", PermissionKind::Read, KeyRange::single("one more"));
    assert!(matches!(refused(&mut store, more), AccessError::TooMany { .. }));
    change(&mut store, grant("r", PermissionKind::Write, KeyRange::single("1")));
}

#[test]
fn what_does_not_exist_or_exists_already_is_named() {
    let mut store = begun();
    change(&mut store, AccessOperation::AddRole { name: name("r") });
    let cases = [
        (
            AccessOperation::AddUser { name: name(ROOT) },
            AccessError::UserExists { name: name(ROOT) },
        ),
        (AccessOperation::AddRole { name: name("r") }, AccessError::RoleExists { name: name("r") }),
        (
            AccessOperation::AddRole { name: name(ROOT) },
            AccessError::RoleExists { name: name(ROOT) },
        ),
        (AccessOperation::RemoveRole { name: name(ROOT) }, AccessError::RootRole),
        (grant(ROOT, PermissionKind::Read, KeyRange::all()), AccessError::RootRole),
        (
            AccessOperation::RemoveUser { name: name("u") },
            AccessError::UserNotFound { name: name("u") },
        ),
        (
            AccessOperation::GrantRole { user: name(ROOT), role: name("x") },
            AccessError::RoleNotFound { name: name("x") },
        ),
        (
            AccessOperation::RevokeRole { user: name(ROOT), role: name("r") },
            AccessError::RoleNotGranted { user: name(ROOT), role: name("r") },
        ),
        (AccessOperation::RemoveKey { id: name("K") }, AccessError::KeyNotFound { id: name("K") }),
    ];
    for (operation, error) in cases {
        assert_eq!(refused(&mut store, operation), error);
    }
}

#[test]
fn what_is_malformed_is_refused() {
    let mut store = begun();
    let empty = AccessKey { sealed_secret: Vec::new().into(), ..key("K", ROOT) };
    let long = AccessKey { sealed_secret: vec![0; 257].into(), ..key("K", ROOT) };
    for operation in [
        AccessOperation::AddUser { name: name("a b") },
        AccessOperation::AddUser { name: name("") },
        AccessOperation::AddUser { name: name("@cluster") },
        AccessOperation::AddRole { name: "r".repeat(129) },
        AccessOperation::CreateKey(key("K/1", ROOT)),
        AccessOperation::CreateKey(empty),
        AccessOperation::CreateKey(long),
        grant("r", PermissionKind::Read, KeyRange::single("")),
        grant("r", PermissionKind::Read, KeyRange::single("k".repeat(1_025))),
    ] {
        let error = refused(&mut store, operation.clone());
        assert!(matches!(error, AccessError::Invalid { .. }), "{operation:?}: {error}");
    }
}

#[test]
fn asking_for_what_is_so_already_changes_nothing() {
    let mut store = with_ann();
    let before = store.access.clone();
    for operation in [
        AccessOperation::SetUserActive { name: name(ROOT), active: true },
        AccessOperation::GrantRole { user: name("ann"), role: name(ROOT) },
        AccessOperation::SetKeyActive { id: name("A1"), active: true },
    ] {
        assert!(ask(&mut store, operation).is_ok());
        assert_eq!(store.access, before);
    }
}

/// A cluster with a user `bob` who may write under `b/`, by the role `r` and the key B1.
fn with_bob() -> MemoryView {
    let mut store = begun();
    change(&mut store, AccessOperation::AddUser { name: name("bob") });
    change(&mut store, AccessOperation::AddRole { name: name("r") });
    change(&mut store, grant("r", PermissionKind::Write, KeyRange::prefix("b/")));
    change(&mut store, AccessOperation::GrantRole { user: name("bob"), role: name("r") });
    change(&mut store, AccessOperation::CreateKey(key("B1", "bob")));
    store
}

/// What becomes of bob's `sequence`th write, let in at the door by the rules of `auth_revision`.
fn bobs(
    store: &mut MemoryView,
    sequence: u64,
    auth_revision: u64,
    operation: Operation,
) -> StoredAnswer {
    let mut command = crate::support::requests::command(9, sequence, 1, 0, operation);
    if let Some(RequestName::Session(id)) = &mut command.request_id {
        // As a client whose session has just ended with its user.
        id.begun_ms = store.forgotten.sessions_before_ms;
    }
    let command = Command { principal: Principal(name("bob")), auth_revision, ..command };
    store.apply(&command).response
}

fn is_denied(answer: &StoredAnswer) -> bool {
    matches!(answer, Err(OperationError::PermissionDenied { .. }))
}

#[test]
fn a_permission_that_was_revoked_since_the_door_is_asked_again_at_apply() {
    let takings: [fn() -> AccessOperation; 7] = [
        || AccessOperation::RevokePermission { role: name("r"), range: KeyRange::prefix("b/") },
        || grant("r", PermissionKind::Read, KeyRange::prefix("b/")),
        || AccessOperation::RevokeRole { user: name("bob"), role: name("r") },
        || AccessOperation::RemoveRole { name: name("r") },
        || AccessOperation::SetUserActive { name: name("bob"), active: false },
        || AccessOperation::SetKeyActive { id: name("B1"), active: false },
        || AccessOperation::RemoveUser { name: name("bob") },
    ];
    for taking in takings {
        let mut store = with_bob();
        let door = store.access.revision;
        assert!(bobs(&mut store, 1, door, put("b/1", "v")).is_ok());
        change(&mut store, taking());
        let revision = store.revision;
        let refused = bobs(&mut store, 2, door, put("b/2", "v"));
        assert!(is_denied(&refused), "{:?}: {refused:?}", taking());
        assert_eq!(store.revision, revision, "nothing was written");
        // The refusal is an answer like any other: it stays, whatever is granted later.
        change(&mut store, AccessOperation::AddUser { name: name("eve") });
        let now = store.access.revision;
        assert_eq!(bobs(&mut store, 2, now, put("b/2", "v")), refused);
    }
}

#[test]
fn a_change_that_takes_nothing_away_refuses_nothing() {
    let mut store = with_bob();
    let door = store.access.revision;
    change(&mut store, AccessOperation::AddUser { name: name("eve") });
    change(&mut store, AccessOperation::CreateKey(key("B2", "bob")));
    change(&mut store, AccessOperation::SetKeyActive { id: name("B1"), active: false });
    assert!(bobs(&mut store, 1, door, put("b/1", "v")).is_ok(), "B2 is active");
    assert!(is_denied(&bobs(&mut store, 2, door, put("c", "v"))));
    assert!(is_denied(&bobs(&mut store, 3, door, compact(1))));
    let access = Operation::Access(AccessOperation::AddUser { name: name("mallory") });
    assert!(is_denied(&bobs(&mut store, 4, door, access)));
    // Somebody who was never there has no rights either; the cluster needs none.
    let write = crate::support::requests::command(8, 1, 1, 0, put("x", "v"));
    let ghost = Command { principal: Principal(name("ghost")), ..write.clone() };
    assert!(is_denied(&store.apply(&ghost).response));
    for (sequence, principal) in [(2, Principal::cluster()), (3, Principal::anyone())] {
        let write = crate::support::requests::command(8, sequence, 1, 0, put("x", "v"));
        assert!(store.apply(&Command { principal, ..write }).response.is_ok());
    }
    let joining = crate::support::requests::command(8, 4, 1, 0, put("x", "v"));
    let joining = Command { principal: Principal::joining_node(), ..joining };
    assert!(is_denied(&store.apply(&joining).response));
}
