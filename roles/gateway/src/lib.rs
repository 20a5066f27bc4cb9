//! The scale-to-zero request path: one door to every pod of a provider, on whatever engine.
//!
//! # The life of a request
//!
//! 1. [`serve`](Gateway) finds the pod by the request's host, and only by it.
//! 2. The request enters the pod: from here to the last byte of its answer it counts as activity.
//! 3. Where no replica listens yet the request is held in a bounded place, and the first one of
//!    all makes the pod [`wake`](Pods::wake).
//! 4. As soon as a replica accepts a connection the request is forwarded. It is delivered at most
//!    once: it is tried again only while none of its bytes was sent.
//! 5. After a period without activity the pod is fenced, and the engine told to
//!    [`idle`](Pods::idle) it.
//!
//! What goes wrong is answered with a code in the header `x-apocryph-error` and in a small JSON
//! body; see [`Refusal`].
//!
//! The gateway knows nothing of engines: it declares what it needs of them as [`Pods`].
//!
//! # Several gateways
//!
//! Gateways in other processes are beside the one that decides: it is told what is under way at
//! them ([`Gateway::set_elsewhere`]), so that its own rules about starts and stops hold for all of
//! them together, and asks them before anything is stopped. What counts of a gateway that was lost
//! is decided by the [`Fleet`]. The others are gateways like it, over [`Pods`] that ask it.

mod answer;
mod body;
mod clients;
mod config;
mod endpoint;
mod fleet;
mod forward;
mod gateway;
mod headers;
mod hold;
mod listener;
mod meters;
mod pod;
mod pods;
mod routes;
mod serve;
mod tcp;
mod tls;
mod tunnel;

pub use answer::Refusal;
pub use config::{ClientLimits, Config, HoldLimits};
pub use fleet::{Fleet, GatewayId, Standing};
pub use gateway::{Drained, Gateway, Leaving};
pub use pod::{Activity, InUse};
pub use pods::{Backend, End, Pods, StopError, WakeError};
pub use routes::{HttpRoute, PodRoutes, PutError, TcpRoute};
pub use tls::{Tls, TlsError};
