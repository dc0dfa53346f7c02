// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Membership} from "./Membership.sol";
import {MerkleLog} from "./lib/MerkleLog.sol";

/// @title Consent
/// @notice Who permitted what, and who withdrew it. A subject is a key made for one patient and one
/// study; nothing personal is here. Granting needs the subject's signature and a hospital that
/// relays it; withdrawing needs the signature alone, whoever brings it, and nothing can pause it.
///
/// Which studies exist stands in Provenance and is compared by each node with its signed plan: a
/// grant for a study that nobody runs permits nothing, so this contract does not ask.
///
/// A hospital with very many grants may anchor one root over all of them, which names nobody, and
/// have each written when it is needed: `prove` asks of it what `grantBatch` asks.
///
/// Storage, part of the interface because proofs read it: slot 0 `head`, slot 1 `sequence`,
/// slot 2 `_slots[study][subject]`, slot 3 `_batches[relay][root]` (size 64 | anchoredAt 64 from the
/// lowest bit).
contract Consent {
    /// @notice A permission as the subject signs it (EIP-712).
    /// @param network Genesis hash of the chain that it is meant for.
    /// @param study Study that it is for.
    /// @param subject The subject's account for this study.
    /// @param purposes Bits of the purpose table; never none.
    /// @param purposeTable Digest of the table that gives the bits their meaning.
    /// @param scope Digest of the data categories.
    /// @param termsShown Digest of the text that the subject saw, with its language and version.
    /// @param notBefore First second of validity, Unix time; nodes apply it.
    /// @param expiry End of validity, a UTC midnight.
    /// @param nonce Must equal the subject's current nonce.
    /// @param submitBy Last second at which it may be relayed.
    struct Grant {
        bytes32 network;
        bytes32 study;
        address subject;
        uint128 purposes;
        bytes32 purposeTable;
        bytes32 scope;
        bytes32 termsShown;
        uint64 notBefore;
        uint64 expiry;
        uint32 nonce;
        uint64 submitBy;
    }

    /// @notice A withdrawal as the subject signs it (EIP-712). It also ends every grant with a nonce
    /// up to its own that has not been relayed.
    struct Withdrawal {
        bytes32 network;
        bytes32 study;
        address subject;
        uint32 nonce;
        uint64 signedAt;
    }

    /// @notice A root over signed grants: an RFC 9162 log with one entry for each, its EIP-712
    /// digest and the 65 bytes of its signature.
    /// @param size Number of grants; 0 if nothing was anchored.
    /// @param anchoredAt Block time, Unix seconds: when the grants count as handed in.
    struct Batch {
        uint64 size;
        uint64 anchoredAt;
    }

    /// @notice Where a grant stands in an anchored batch.
    /// @param relay Number of the hospital that anchored it.
    /// @param root Root of the batch.
    /// @param index Position from 0.
    /// @param path RFC 9162 inclusion proof, from the leaf upwards.
    struct Place {
        uint16 relay;
        bytes32 root;
        uint64 index;
        bytes32[] path;
    }

    /// @notice Why one item of a batch was left out.
    enum Reason {
        None,
        WrongNetwork,
        NoSubject,
        NoPurpose,
        WrongNonce,
        TooLate,
        ExpiryNotMidnight,
        Expired,
        BadSignature
    }

    /// @notice The slot of a subject changed; `head` covers all four values.
    /// @param digest EIP-712 digest of what was signed; zero for a withdrawal attested by staff.
    /// @param sequence Number of this change, from 1.
    /// @param slot purposes 128 | expiry 64 | nonce 32 | relaying hospital's number 16 | flags 16.
    event ConsentChanged(
        bytes32 indexed study,
        address indexed subject,
        bytes32 indexed digest,
        uint64 sequence,
        uint256 slot
    );
    /// @notice A grant in a batch was left out; the others went on.
    event Skipped(bytes32 indexed digest, Reason reason);

    /// @notice A hospital anchored a root over signed grants.
    event BatchAnchored(uint16 indexed relay, bytes32 indexed root, uint64 size);

    /// @notice Only a hospital does this; relaying and anchoring, only an active one.
    error NotAHospital(address account);
    /// @notice Every grant needs its signature.
    error LengthsDiffer(uint256 grants, uint256 signatures);
    /// @notice The withdrawal was signed for another network.
    error WrongNetwork(bytes32 network);
    /// @notice The withdrawal's signature is not the subject's.
    error BadSignature();
    /// @notice A later grant or withdrawal has replaced what this one is about.
    error NonceSpent(uint32 nonce, uint32 current);
    /// @notice Staff may attest a withdrawal only where their own hospital relayed the grant.
    error NotTheRelay(address account);
    /// @notice There is no permission to withdraw.
    error NothingGranted(bytes32 study, address subject);

    /// @notice A batch of nothing, or without a root.
    error EmptyBatch();
    /// @notice The caller anchored this root before.
    error AlreadyAnchored(bytes32 root);
    /// @notice This hospital anchored no such root, or is suspended.
    error NotAnchored(uint16 relay, bytes32 root);
    /// @notice The batch does not hold this grant with this signature at this place.
    error NotIncluded(bytes32 root, uint64 index);
    /// @notice The grant of an anchored batch cannot take effect.
    error Refused(Reason reason);

    /// @notice Flag: the last change carries the subject's signature.
    uint16 public constant SIGNED = 1;
    /// @notice Flag: the last change is a withdrawal attested by staff.
    uint16 public constant ATTESTED = 2;

    bytes32 private constant GRANT_TYPE =
        keccak256(
            "Grant(bytes32 network,bytes32 study,address subject,uint128 purposes,bytes32 purposeTable,bytes32 scope,bytes32 termsShown,uint64 notBefore,uint64 expiry,uint32 nonce,uint64 submitBy)"
        );
    bytes32 private constant WITHDRAWAL_TYPE =
        keccak256(
            "Withdrawal(bytes32 network,bytes32 study,address subject,uint32 nonce,uint64 signedAt)"
        );

    bytes32 private constant NAME = keccak256("Twinward Consent");
    bytes32 private constant VERSION = keccak256("1");

    /// @notice Running hash over all changes: keccak256(head, study, subject, slot, digest).
    bytes32 public head;
    /// @notice How many changes `head` covers.
    uint64 public sequence;
    mapping(bytes32 study => mapping(address subject => uint256)) private _slots;
    mapping(uint16 relay => mapping(bytes32 root => Batch)) private _batches;

    /// @notice Who the hospitals are.
    Membership public immutable membership;
    /// @notice Genesis hash of this chain: the salt of the signing domain, so that a signature given
    /// on a test network or before a migration means nothing here.
    bytes32 public immutable network;

    /// @param membership_ Says who the hospitals are.
    /// @param network_ Genesis hash of this chain.
    constructor(Membership membership_, bytes32 network_) {
        membership = membership_;
        network = network_;
    }

    /// @notice Relays signed grants. A bad one is left out with its reason and stops no other.
    function grantBatch(Grant[] calldata grants, bytes[] calldata signatures) external {
        uint16 relay = membership.hospitalNumber(msg.sender);
        if (relay == 0) revert NotAHospital(msg.sender);
        if (grants.length != signatures.length) {
            revert LengthsDiffer(grants.length, signatures.length);
        }
        bytes32 separator = domainSeparator();
        for (uint256 i = 0; i < grants.length; ++i) {
            bytes32 digest = _grantDigest(separator, grants[i]);
            Reason reason = _check(grants[i], digest, signatures[i], block.timestamp);
            if (reason == Reason.None) _grant(grants[i], digest, relay);
            else emit Skipped(digest, reason);
        }
    }

    /// @notice Anchors a root over signed grants: from now on they count as handed in.
    /// @param root RFC 9162 root; each entry is the grant's EIP-712 digest and then its signature.
    /// @param size Number of grants.
    function anchorBatch(bytes32 root, uint64 size) external {
        uint16 relay = membership.hospitalNumber(msg.sender);
        if (relay == 0) revert NotAHospital(msg.sender);
        if (root == 0 || size == 0) revert EmptyBatch();
        if (_batches[relay][root].size != 0) revert AlreadyAnchored(root);
        _batches[relay][root] = Batch(size, uint64(block.timestamp));
        emit BatchAnchored(relay, root, size);
    }

    /// @notice Writes a grant of an anchored batch, whoever brings it: as `grantBatch` by the
    /// hospital that anchored it, except that `submitBy` is held against the time of anchoring.
    function prove(
        Place calldata place,
        Grant calldata item,
        bytes calldata signature
    ) external {
        Batch memory batch = _batches[place.relay][place.root];
        if (batch.size == 0 || !membership.isHospitalNumberActive(place.relay)) {
            revert NotAnchored(place.relay, place.root);
        }
        bytes32 digest = _grantDigest(domainSeparator(), item);
        bytes32 leaf = sha256(abi.encodePacked(uint8(0), digest, signature));
        if (!MerkleLog.isIncluded(leaf, place.index, batch.size, place.path, place.root)) {
            revert NotIncluded(place.root, place.index);
        }
        Reason reason = _check(item, digest, signature, batch.anchoredAt);
        if (reason != Reason.None) revert Refused(reason);
        _grant(item, digest, place.relay);
    }

    /// @notice Withdraws by the subject's signature, whoever sends it.
    function withdraw(Withdrawal calldata item, bytes calldata signature) external {
        if (item.network != network) revert WrongNetwork(item.network);
        bytes32 digest = MessageHashUtils.toTypedDataHash(
            domainSeparator(),
            keccak256(abi.encode(WITHDRAWAL_TYPE, item))
        );
        if (!_signed(item.subject, digest, signature)) revert BadSignature();
        uint256 old = _slots[item.study][item.subject];
        uint32 current = _nonce(old);
        bool ended = current == type(uint32).max && old >> 128 == 0;
        if (item.nonce < current || ended) revert NonceSpent(item.nonce, current);
        _end(item.study, item.subject, item.nonce, SIGNED, digest);
    }

    /// @notice Withdraws at the desk, on paper or by telephone: no key, but only by the hospital
    /// that relayed the grant, and marked for ever as attested instead of signed. A suspended
    /// hospital may: nothing stands between a patient and a withdrawal.
    function attestWithdrawal(bytes32 study, address subject) external {
        if (!membership.isHospital(msg.sender)) revert NotAHospital(msg.sender);
        uint16 relay = membership.numberOf(msg.sender);
        uint256 old = _slots[study][subject];
        if (old >> 128 == 0) revert NothingGranted(study, subject);
        if (uint16(old >> 16) != relay) revert NotTheRelay(msg.sender);
        _end(study, subject, _nonce(old), ATTESTED, 0);
    }

    /// @notice The packed slot of a subject in a study; zero if nothing was ever relayed.
    function slotOf(bytes32 study, address subject) external view returns (uint256) {
        return _slots[study][subject];
    }

    /// @notice The nonce that the subject's next grant must carry.
    function nonceOf(bytes32 study, address subject) external view returns (uint32) {
        return _nonce(_slots[study][subject]);
    }

    /// @notice A root that this hospital anchored; all zero if it did not.
    function batchOf(uint16 relay, bytes32 root) external view returns (Batch memory) {
        return _batches[relay][root];
    }

    /// @notice EIP-712 domain: name, version, chain, this contract, and the genesis hash as salt.
    function domainSeparator() public view returns (bytes32) {
        return
            MessageHashUtils.toDomainSeparator(
                0x1f,
                NAME,
                VERSION,
                block.chainid,
                address(this),
                network
            );
    }

    function _grantDigest(bytes32 separator, Grant calldata item) private pure returns (bytes32) {
        return
            MessageHashUtils.toTypedDataHash(separator, keccak256(abi.encode(GRANT_TYPE, item)));
    }

    function _grant(Grant calldata item, bytes32 digest, uint16 relay) private {
        _write(
            item.study,
            item.subject,
            _pack(item.purposes, item.expiry, item.nonce + 1, relay, SIGNED),
            digest
        );
    }

    function _check(
        Grant calldata item,
        bytes32 digest,
        bytes calldata signature,
        uint256 handedIn
    ) private view returns (Reason) {
        if (item.network != network) return Reason.WrongNetwork;
        if (item.subject == address(0)) return Reason.NoSubject;
        if (item.purposes == 0) return Reason.NoPurpose;
        uint32 current = _nonce(_slots[item.study][item.subject]);
        // The last nonce is kept back, so that whatever was granted can still be withdrawn.
        if (item.nonce != current || current == type(uint32).max) return Reason.WrongNonce;
        if (handedIn > item.submitBy) return Reason.TooLate;
        if (item.expiry % 1 days != 0) return Reason.ExpiryNotMidnight;
        if (item.expiry <= block.timestamp) return Reason.Expired;
        if (!_signed(item.subject, digest, signature)) return Reason.BadSignature;
        return Reason.None;
    }

    /// @dev Refuses high s, odd v and lengths other than 65 (OpenZeppelin); contracts cannot sign.
    function _signed(
        address subject,
        bytes32 digest,
        bytes calldata signature
    ) private pure returns (bool) {
        (address signer, ECDSA.RecoverError failure, ) = ECDSA.tryRecoverCalldata(
            digest,
            signature
        );
        return failure == ECDSA.RecoverError.NoError && signer == subject;
    }

    /// @dev Keeps the relaying hospital's number: it still answers for this subject.
    function _end(
        bytes32 study,
        address subject,
        uint32 nonce,
        uint16 flags,
        bytes32 digest
    ) private {
        uint32 next = nonce == type(uint32).max ? nonce : nonce + 1;
        uint16 relay = uint16(_slots[study][subject] >> 16);
        _write(study, subject, _pack(0, 0, next, relay, flags), digest);
    }

    function _write(bytes32 study, address subject, uint256 slot, bytes32 digest) private {
        _slots[study][subject] = slot;
        head = keccak256(abi.encode(head, study, subject, slot, digest));
        emit ConsentChanged(study, subject, digest, ++sequence, slot);
    }

    function _pack(
        uint128 purposes,
        uint64 expiry,
        uint32 nonce,
        uint16 relay,
        uint16 flags
    ) private pure returns (uint256) {
        return
            (uint256(purposes) << 128) |
            (uint256(expiry) << 64) |
            (uint256(nonce) << 32) |
            (uint256(relay) << 16) |
            flags;
    }

    function _nonce(uint256 slot) private pure returns (uint32) {
        return uint32(slot >> 32);
    }
}
