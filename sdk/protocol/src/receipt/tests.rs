use super::*;
use crate::id::{StoreId, TenantId};
use crate::key::SigningKey;

/// The place of `formats.md` 2.4, first chain: their published event, our continuation.
fn place() -> VesPlace {
    VesPlace {
        stream: Stream::new(
            "64527dd3-a654-4410-9327-e58a1492ce77".parse().unwrap(),
            "91def158-819a-4461-b5c9-7759750ad157".parse().unwrap(),
        ),
        event_id: "861910c9-7a1d-4b6f-83d6-51bbf4ae2849".parse().unwrap(),
        sequence: Sequence::new(42),
        signing_hash: SigningHash::from_hex("e970dfc9ffc285c2c0ba59be5d9c653eee2d1ae4db9b7a02ea3cd62b8e7cf92b")
            .unwrap(),
    }
}

#[test]
fn the_receipt_hash_is_the_known_one() {
    let known = "16c2e63e213cd29b87452f9e302798c044355c4a9ae917595e80539318940c56";
    assert_eq!(place().receipt_hash().to_hex(), known);
}

#[test]
fn a_receipt_holds_for_its_own_place_and_key_only() {
    let key = SigningKey::from_seed([3; 32]);
    let receipt = VesReceipt::sign(place().receipt_hash(), &key).unwrap();
    assert_eq!(receipt.verify(&place(), &key.public_key()), Ok(()));
    let other = SigningKey::from_seed([4; 32]).public_key();
    assert_eq!(receipt.verify(&place(), &other), Err(ReceiptError::Signature));
    let stream = place().stream;
    for elsewhere in [
        VesPlace { stream: Stream::new(TenantId::NIL, stream.store), ..place() },
        VesPlace { stream: Stream::new(stream.tenant, StoreId::NIL), ..place() },
        VesPlace { event_id: EventId::NIL, ..place() },
        VesPlace { sequence: Sequence::new(43), ..place() },
        VesPlace { signing_hash: SigningHash::ZERO, ..place() },
    ] {
        assert_eq!(receipt.verify(&elsewhere, &key.public_key()), Err(ReceiptError::Hash));
        // Claiming the other place's hash does not help: the signature is over this one's.
        let forged = VesReceipt { receipt_hash: elsewhere.receipt_hash(), ..receipt };
        assert_eq!(forged.verify(&elsewhere, &key.public_key()), Err(ReceiptError::Signature));
    }
}

#[test]
fn every_changed_bit_of_a_signature_is_refused() {
    let key = SigningKey::from_seed([3; 32]);
    let receipt = VesReceipt::sign(place().receipt_hash(), &key).unwrap();
    for bit in 0..512 {
        let mut bytes = *receipt.signature.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let forged = VesReceipt { signature: Signature::from_bytes(bytes), ..receipt };
        assert_eq!(forged.verify(&place(), &key.public_key()), Err(ReceiptError::Signature), "bit {bit}");
    }
}

#[test]
fn signing_again_gives_the_same_receipt() {
    let key = SigningKey::from_seed([3; 32]);
    let sign = || VesReceipt::sign(place().receipt_hash(), &key).unwrap();
    assert_eq!(sign(), sign());
}
