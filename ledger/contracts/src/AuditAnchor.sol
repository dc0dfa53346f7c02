// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Membership} from "./Membership.sol";
import {MerkleLog} from "./lib/MerkleLog.sol";

/// @title AuditAnchor
/// @notice How far each organisation's audit log has grown, so that nobody can rewrite or fork its
/// own log unseen: a new root counts only with an RFC 9162 proof that the log still begins with
/// everything that was anchored before. Roots say nothing about the entries.
///
/// Storage, part of the interface because proofs read it: slot 0 `_anchors[number]`, two words:
/// the root, then size 64 | time 64 from the lowest bit.
contract AuditAnchor {
    /// @notice Where a log stood.
    /// @param root RFC 9162 root, SHA-256.
    /// @param size Number of entries; 0 if nothing was anchored.
    /// @param time Block time, Unix seconds.
    struct Anchor {
        bytes32 root;
        uint64 size;
        uint64 time;
    }

    /// @notice A member's log grew, and still begins with all that it held before.
    event Anchored(uint16 indexed number, uint64 size, bytes32 root, uint64 time);

    /// @notice Only a member has a log here.
    error NotAMember(address account);
    /// @notice A log of nothing is not anchored, and the root of something is not zero.
    error EmptyLog();
    /// @notice Exactly this root of exactly this size stands already.
    error AlreadyAnchored(uint16 number, uint64 size, bytes32 root);
    /// @notice The proof does not show that the new log begins with the anchored one.
    error Inconsistent(uint16 number, uint64 anchoredSize, uint64 size);

    /// @notice Who the members are.
    Membership public immutable membership;

    mapping(uint16 number => Anchor) private _anchors;

    /// @param membership_ Says who may anchor.
    constructor(Membership membership_) {
        membership = membership_;
    }

    /// @notice Anchors the caller's log. A suspended member may: evidence is never held back.
    /// @param size Number of entries now.
    /// @param root Root over them.
    /// @param proof Consistency proof from the size anchored last; empty the first time.
    function anchor(uint64 size, bytes32 root, bytes32[] calldata proof) external {
        uint16 number = membership.numberOf(msg.sender);
        if (number == 0) revert NotAMember(msg.sender);
        if (size == 0 || root == 0) revert EmptyLog();
        Anchor memory old = _anchors[number];
        if (old.size == size && old.root == root) revert AlreadyAnchored(number, size, root);
        bool grows = old.size == 0
            ? proof.length == 0
            : MerkleLog.isExtension(old.size, old.root, size, root, proof);
        if (!grows) revert Inconsistent(number, old.size, size);
        uint64 time = uint64(block.timestamp);
        _anchors[number] = Anchor(root, size, time);
        emit Anchored(number, size, root, time);
    }

    /// @notice Where the log of the member with this number stands; all zero if never anchored.
    function anchorOf(uint16 number) external view returns (Anchor memory) {
        return _anchors[number];
    }

    /// @notice Whether the anchored log of this member holds the leaf at this index.
    /// @param number The member's number.
    /// @param leaf Leaf hash, SHA-256(0x00 || entry).
    /// @param index Position from 0.
    /// @param path Inclusion proof for the anchored size, from the leaf upwards.
    function verifyInclusion(
        uint16 number,
        bytes32 leaf,
        uint64 index,
        bytes32[] calldata path
    ) external view returns (bool) {
        Anchor memory log = _anchors[number];
        return MerkleLog.isIncluded(leaf, index, log.size, path, log.root);
    }
}
