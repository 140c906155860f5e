//! Transactions of type 2 (EIP-1559 in the envelope of EIP-2718): raw bytes, hash, and who sent them.
//!
//! ```text
//! 0x02 | rlp([chain_id, nonce, max_priority_fee_per_gas, max_fee_per_gas, gas_limit, destination, amount, data,
//!             access_list, signature_y_parity, signature_r, signature_s])
//! ```
//! Takes raw bytes, gives values, and back to the same bytes. Narrower than the chain where an anchor needs no more: the
//! destination is an address (no contract is created), the access list is empty, amounts fit 128 bits.

use super::rlp::{self, Items};
use crate::hash::{self, Address, EcdsaDigest, TransactionHash};
use crate::key::secp256k1::{RecoverableSignature, SignatureError};
use crate::limits::TRANSACTION_BYTES_MAX;

/// The envelope's type (EIP-2718) of an EIP-1559 transaction.
pub const TYPE: u8 = 2;

/// Why bytes are no transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// Longer than [`TRANSACTION_BYTES_MAX`].
    #[error("transaction is longer than {TRANSACTION_BYTES_MAX} bytes")]
    TooLong,
    /// Not of type 2.
    #[error("transaction is not of type 2 (EIP-1559)")]
    Type,
    /// They end before what they announce.
    #[error("transaction is cut short")]
    Truncated,
    /// Something follows the end of a list.
    #[error("transaction has surplus bytes")]
    Surplus,
    /// Not the one RLP encoding of a value, or a list where a string should be, or the other way round.
    #[error("transaction is not strict RLP")]
    Rlp,
    /// A field has a length or value that it cannot have.
    #[error("transaction field {0} is out of bounds")]
    Field(&'static str),
    /// There is an access list.
    #[error("transaction has an access list")]
    AccessList,
    /// The signature is none.
    #[error("transaction's signature: {0}")]
    Signature(#[from] SignatureError),
}

/// What a sender signs. Fees and amount are in wei.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The chain (EIP-155).
    pub chain_id: u64,
    /// How many transactions the sender sent before.
    pub nonce: u64,
    /// The tip for each unit of gas.
    pub max_priority_fee_per_gas: u128,
    /// The most that is paid for each unit of gas, tip included.
    pub max_fee_per_gas: u128,
    /// The most gas that it may use.
    pub gas_limit: u64,
    /// Who is called.
    pub to: Address,
    /// What is sent along.
    pub value: u128,
    /// The call data.
    pub data: Vec<u8>,
}

impl Transaction {
    fn fields(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.len() + 160);
        rlp::write_number(&mut out, &self.chain_id.to_be_bytes());
        rlp::write_number(&mut out, &self.nonce.to_be_bytes());
        rlp::write_number(&mut out, &self.max_priority_fee_per_gas.to_be_bytes());
        rlp::write_number(&mut out, &self.max_fee_per_gas.to_be_bytes());
        rlp::write_number(&mut out, &self.gas_limit.to_be_bytes());
        rlp::write_string(&mut out, self.to.as_bytes());
        rlp::write_number(&mut out, &self.value.to_be_bytes());
        rlp::write_string(&mut out, &self.data);
        rlp::write_list(&mut out, &[]);
        out
    }

    /// What the sender signs (EIP-1559): type and fields, without a signature.
    #[must_use]
    pub fn signing_digest(&self) -> EcdsaDigest {
        hash::transaction_signing(&envelope(&self.fields()))
    }

    /// The transaction with its signature. Nothing is checked.
    #[must_use]
    pub const fn signed(self, signature: RecoverableSignature) -> SignedTransaction {
        SignedTransaction { transaction: self, signature }
    }
}

/// A transaction as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTransaction {
    /// What was signed.
    pub transaction: Transaction,
    /// The sender's signature.
    pub signature: RecoverableSignature,
}

impl SignedTransaction {
    /// The raw bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = self.transaction.fields();
        rlp::write_number(&mut fields, &[u8::from(self.signature.odd_y())]);
        rlp::write_number(&mut fields, self.signature.r());
        rlp::write_number(&mut fields, self.signature.s());
        envelope(&fields)
    }

    /// Reads raw bytes.
    ///
    /// # Errors
    /// See [`TransactionError`].
    pub fn decode(raw: &[u8]) -> Result<Self, TransactionError> {
        if raw.len() > TRANSACTION_BYTES_MAX {
            return Err(TransactionError::TooLong);
        }
        let Some((&TYPE, raw)) = raw.split_first() else { return Err(TransactionError::Type) };
        let mut outer = Items(raw);
        let mut fields = outer.list()?;
        outer.end()?;
        let transaction = read_fields(&mut fields)?;
        let odd_y = match fields.number::<1>("signature_y_parity")? {
            [0] => false,
            [1] => true,
            _ => return Err(TransactionError::Field("signature_y_parity")),
        };
        let (r, s) = (fields.number("signature_r")?, fields.number("signature_s")?);
        fields.end()?;
        Ok(Self { transaction, signature: RecoverableSignature::new(r, s, odd_y)? })
    }

    /// Its name on chain.
    #[must_use]
    pub fn hash(&self) -> TransactionHash {
        hash::transaction(&self.encode())
    }

    /// Who sent it.
    ///
    /// # Errors
    /// No key signed it.
    pub fn sender(&self) -> Result<Address, SignatureError> {
        self.signature.signer(&self.transaction.signing_digest())
    }
}

fn read_fields(fields: &mut Items<'_>) -> Result<Transaction, TransactionError> {
    let transaction = Transaction {
        chain_id: u64::from_be_bytes(fields.number("chain_id")?),
        nonce: u64::from_be_bytes(fields.number("nonce")?),
        max_priority_fee_per_gas: u128::from_be_bytes(fields.number("max_priority_fee_per_gas")?),
        max_fee_per_gas: u128::from_be_bytes(fields.number("max_fee_per_gas")?),
        gas_limit: u64::from_be_bytes(fields.number("gas_limit")?),
        to: fields.string()?.try_into().map(Address::from_bytes).map_err(|_| TransactionError::Field("destination"))?,
        value: u128::from_be_bytes(fields.number("amount")?),
        data: fields.string()?.to_vec(),
    };
    fields.list()?.end().map_err(|_| TransactionError::AccessList)?;
    Ok(transaction)
}

fn envelope(fields: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(fields.len() + 8);
    out.push(TYPE);
    rlp::write_list(&mut out, fields);
    out
}
