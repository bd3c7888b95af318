//! The names of calls, which are what a signature covers.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The number that stands for a cancellation in place of a method's.
pub(super) const CANCEL: u8 = u8::MAX;

/// The canonical names of a service's frames.
#[derive(Clone, Copy, Debug)]
pub struct ServicePaths {
    /// `/chainfire/<service>/<method>`, by the method's number. Append only.
    pub methods: &'static [&'static str],
    /// `/chainfire/<service>/cancel`.
    pub cancel: &'static str,
}

impl ServicePaths {
    /// The name of a method, or of the cancellation.
    pub(super) fn of(&self, number: u8) -> Option<&'static str> {
        match number {
            CANCEL => Some(self.cancel),
            _ => self.methods.get(usize::from(number)).copied(),
        }
    }
}

/// The requests of a service.
pub trait ServiceRequest: Serialize + DeserializeOwned {
    /// The names of its methods.
    const PATHS: ServicePaths;

    /// The number of the method it calls.
    fn method_number(&self) -> u8;
}
