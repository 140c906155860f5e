//! The stores of objects: the folder against whoever can write beside it and against a real kill, the bucket against a
//! real server of the S3 protocol, and against one that lies.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod file;
mod liar;
mod ministack;
mod s3;
