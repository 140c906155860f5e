//! The gas table: what an instruction and a host call cost. Versioned; a changed price is a new version.
//!
//! One gas is about half a nanosecond of compiled code on the machines this was measured on. Structure costs nothing,
//! but every way back to an earlier instruction (a branch, a call) costs at least one, so nothing runs for ever.

use wasmparser::Operator;

/// Version of every number in this file.
pub const GAS_TABLE_VERSION: u32 = 1;

/// Gas of entering a function, to which one for each declared local is added (they are zeroed).
pub const FUNCTION_ENTRY: u64 = 2;

/// Gas of a page that memory grows by: the host zeroes and maps it.
pub const GROW_PAGE: u64 = 4_096;

/// A bulk operation costs one for each eight bytes: the shift of its length.
pub const BULK_SHIFT: u32 = 3;

/// Units of counted stack of a frame beside its locals and operands.
pub const FRAME_UNITS: u32 = 64;

/// Units of counted stack of a local or an operand.
pub const SLOT_UNITS: u32 = 8;

/// What a frame costs on the counted stack.
#[must_use]
pub const fn frame_units(locals: u32, operands: u32) -> u32 {
    FRAME_UNITS.saturating_add(locals.saturating_add(operands).saturating_mul(SLOT_UNITS))
}

/// The fixed price of an instruction; bulk operations and growth also pay for their length.
#[must_use]
pub fn price(operator: &Operator<'_>) -> u64 {
    use Operator as O;
    match operator {
        O::Nop | O::Block { .. } | O::Loop { .. } | O::Else | O::End | O::Unreachable | O::Drop => 0,
        O::I32DivS | O::I32DivU | O::I32RemS | O::I32RemU => 8,
        O::I64DivS | O::I64DivU | O::I64RemS | O::I64RemU => 12,
        O::I32Load { .. }
        | O::I32Load8S { .. }
        | O::I32Load8U { .. }
        | O::I32Load16S { .. }
        | O::I32Load16U { .. }
        | O::I64Load { .. }
        | O::I64Load8S { .. }
        | O::I64Load8U { .. }
        | O::I64Load16S { .. }
        | O::I64Load16U { .. }
        | O::I64Load32S { .. }
        | O::I64Load32U { .. }
        | O::I32Store { .. }
        | O::I32Store8 { .. }
        | O::I32Store16 { .. }
        | O::I64Store { .. }
        | O::I64Store8 { .. }
        | O::I64Store16 { .. }
        | O::I64Store32 { .. }
        | O::GlobalGet { .. }
        | O::GlobalSet { .. }
        | O::MemorySize { .. } => 2,
        O::BrTable { .. } => 4,
        O::Call { .. } => 8,
        O::CallIndirect { .. } => 16,
        O::MemoryFill { .. } | O::MemoryCopy { .. } | O::MemoryInit { .. } => 32,
        O::DataDrop { .. } => 32,
        O::MemoryGrow { .. } => 256,
        _ => 1,
    }
}

/// The price of a host call: a base, and one for each so many bytes that cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallPrice {
    /// Of the call itself.
    pub base: u64,
    /// Of each byte, in sixteenths of a gas.
    pub byte_sixteenths: u64,
}

impl CallPrice {
    /// The price for so many bytes.
    #[must_use]
    pub const fn of(self, bytes: u64) -> u64 {
        self.base.saturating_add(bytes.saturating_mul(self.byte_sixteenths).div_ceil(16))
    }
}

const fn call(base: u64, byte_sixteenths: u64) -> CallPrice {
    CallPrice { base, byte_sixteenths }
}

/// `next`.
pub const NEXT: CallPrice = call(200, 4);
/// `done`.
pub const DONE: CallPrice = call(50, 4);
/// `kv_get`, and each key of `kv_get_many`: key and value.
pub const KV_GET: CallPrice = call(1_000, 4);
/// `kv_set`: key and value.
pub const KV_SET: CallPrice = call(1_000, 16);
/// `kv_delete`: the key.
pub const KV_DELETE: CallPrice = call(1_000, 16);
/// `kv_range` itself: its two bounds.
pub const KV_RANGE: CallPrice = call(4_000, 4);
/// Each row of a range: key and value.
pub const KV_ROW: CallPrice = call(500, 4);
/// `emit`: type and body.
pub const EMIT: CallPrice = call(2_000, 32);
/// `effect`: kind, suffix and body.
pub const EFFECT: CallPrice = call(4_000, 32);
/// `sha256`.
pub const SHA256: CallPrice = call(200, 32);
/// `blake3`.
pub const BLAKE3: CallPrice = call(200, 32);
/// `ed25519_verify`.
pub const ED25519: CallPrice = call(100_000, 64);
/// `id`.
pub const ID: CallPrice = call(500, 32);
/// `log`.
pub const LOG: CallPrice = call(100, 8);
/// The answer of `query` and `describe`.
pub const RESPONSE: CallPrice = call(200, 4);
