//! The catalogue's laws: refusals, signatures, splits and routes one by one, and random commands against a model.

mod audit;
mod desk;
mod model;
mod paging;
mod properties;
mod refusals;
mod routes;
mod signatures;
mod splits;
