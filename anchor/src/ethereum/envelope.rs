//! A transaction's bytes (EIP-2718 type 2, EIP-1559): digest, signed envelope, hash, and who signed.

use alloy_primitives::{B256, Signature as Recoverable, U256, keccak256};
use alloy_rlp::{Encodable as _, Header};

use crate::chain::{Hash32, Wei};
use crate::signer::{Address, Signature, SignerError};

const DYNAMIC_FEE: u8 = 2;
const EMPTY_LIST: u8 = 0xc0;

/// A transaction before it is signed. No value, no access list: an anchor moves no ether.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsigned {
    /// EIP-155.
    pub chain_id: u64,
    /// The account's nonce.
    pub nonce: u64,
    /// `maxPriorityFeePerGas`, wei.
    pub tip: Wei,
    /// `maxFeePerGas`, wei.
    pub cap: Wei,
    /// Gas limit.
    pub gas: u64,
    /// The called contract; `None` creates one.
    pub to: Option<Address>,
    /// Call data, or creation code.
    pub input: Vec<u8>,
}

impl Unsigned {
    /// What the sender signs.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        keccak256(self.encode(None)).0
    }

    /// The signed bytes and their hash. The signature is believed only if it recovers to `sender`.
    ///
    /// # Errors
    /// [`SignerError::Wrong`].
    pub fn signed(&self, signature: &Signature, sender: Address) -> Result<(Vec<u8>, Hash32), SignerError> {
        check_signature(self.digest(), signature, sender)?;
        let raw = self.encode(Some(signature));
        let hash = Hash32(keccak256(&raw).0);
        Ok((raw, hash))
    }

    fn encode(&self, signature: Option<&Signature>) -> Vec<u8> {
        let mut fields = Vec::with_capacity(self.input.len() + 256);
        self.chain_id.encode(&mut fields);
        self.nonce.encode(&mut fields);
        self.tip.encode(&mut fields);
        self.cap.encode(&mut fields);
        self.gas.encode(&mut fields);
        self.to.as_ref().map_or(&[][..], |to| &to.0).encode(&mut fields);
        0u8.encode(&mut fields);
        self.input.as_slice().encode(&mut fields);
        fields.push(EMPTY_LIST);
        if let Some(signature) = signature {
            signature.odd_y.encode(&mut fields);
            U256::from_be_bytes(signature.r).encode(&mut fields);
            U256::from_be_bytes(signature.s).encode(&mut fields);
        }
        let mut bytes = vec![DYNAMIC_FEE];
        Header { list: true, payload_length: fields.len() }.encode(&mut bytes);
        bytes.extend_from_slice(&fields);
        bytes
    }
}

/// Whether a signature is in low-s form and recovers to `signer` over `digest`.
///
/// # Errors
/// [`SignerError::Wrong`].
pub fn check_signature(digest: [u8; 32], signature: &Signature, signer: Address) -> Result<(), SignerError> {
    let wrong = |why: &str| Err(SignerError::Wrong(why.to_owned()));
    match recover(digest, signature) {
        None => wrong("its signature recovers to nobody"),
        Some(address) if address != signer => wrong("its signature recovers to another address"),
        Some(_) => Ok(()),
    }
}

/// Who signed the digest; `None` for what is no signature, or not in low-s form (EIP-2).
#[must_use]
pub fn recover(digest: [u8; 32], signature: &Signature) -> Option<Address> {
    let recoverable =
        Recoverable::new(U256::from_be_bytes(signature.r), U256::from_be_bytes(signature.s), signature.odd_y);
    if recoverable.normalize_s().is_some() {
        return None;
    }
    let address = recoverable.recover_address_from_prehash(&B256::from(digest)).ok()?;
    Some(Address(address.into_array()))
}

/// The address of an uncompressed public key without its leading byte: x and y, 32 bytes each.
#[must_use]
pub fn address_of(public_key: &[u8; 64]) -> Address {
    Address(alloy_primitives::Address::from_raw_public_key(public_key).into_array())
}
