//! A plugin whose calls are written down.

use std::fmt;
use std::sync::Arc;

use cni_proto::{
    AddRequest, AddResult, Call, CheckRequest, DelRequest, Error, GcRequest, Plugin, StatusRequest,
};
use tracing::Dispatch;

use crate::durations::{DEFAULT_FILE, Durations, Failure};
use crate::recorder::Recorder;

/// A plugin as it is, and beside it its log and its durations: for [`cni_proto::serve`] in a `main`.
#[derive(Debug)]
pub struct Observed<P> {
    plugin: P,
    recorder: Arc<Recorder>,
    durations: Durations,
}

impl<P: Plugin> Observed<P> {
    /// The plugin, whose call begins now, with this process's one subscriber of `tracing`. Where
    /// there is one already, that hears what the plugin says, and each call has its line all the
    /// same.
    pub fn new(plugin: P) -> Self {
        let recorder = Arc::new(Recorder::new(plugin.name()));
        drop(tracing::dispatcher::set_global_default(Dispatch::from(
            Arc::clone(&recorder) as Arc<dyn tracing::Subscriber + Send + Sync>
        )));
        Self { plugin, recorder, durations: Durations::new(DEFAULT_FILE) }
    }

    /// Says in the log that the plugin panicked, for the hook of a panic.
    pub fn on_panic(&self) -> impl Fn(&dyn fmt::Display) + Send + Sync + 'static {
        let recorder = Arc::clone(&self.recorder);
        move |info| recorder.panicked(info)
    }
}

impl<P: Plugin> Plugin for Observed<P> {
    fn name(&self) -> &str {
        self.plugin.name()
    }

    /// That of the workspace, which all its programs share.
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn add(&self, request: &AddRequest) -> Result<AddResult, Error> {
        self.plugin.add(request)
    }

    fn del(&self, request: &DelRequest) -> Result<(), Error> {
        self.plugin.del(request)
    }

    fn check(&self, request: &CheckRequest) -> Result<(), Error> {
        self.plugin.check(request)
    }

    fn gc(&self, request: &GcRequest) -> Result<(), Error> {
        self.plugin.gc(request)
    }

    fn status(&self, request: &StatusRequest) -> Result<(), Error> {
        self.plugin.status(request)
    }

    fn called(&self, call: &Call<'_>) {
        self.recorder.called(call);
        self.plugin.called(call);
    }

    fn answered(&self, outcome: Result<Option<&AddResult>, &Error>) {
        if let Some((verb, took)) = self.recorder.answered(outcome) {
            let failure = outcome.err().map(|error| Failure::of(error.code));
            // Nobody is told: who measures sees it, and a plugin has better things to say.
            drop(self.durations.count(self.plugin.name(), verb, failure, took));
        }
        self.plugin.answered(outcome);
    }
}
