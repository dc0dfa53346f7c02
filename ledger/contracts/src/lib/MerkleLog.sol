// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title MerkleLog
/// @notice Checks proofs of RFC 9162 logs (SHA-256): that an entry is in a log, and that a larger
/// log begins with exactly the entries of a smaller one. Any proof that is too short, too long or
/// out of order is false, never a revert, so that a caller names its own error.
library MerkleLog {
    /// @notice Whether the log with this size and root holds this leaf at this index.
    /// RFC 9162 section 2.1.3.2.
    /// @param leaf Leaf hash, SHA-256(0x00 || entry).
    /// @param index Position from 0.
    /// @param size Number of entries.
    /// @param path Sibling hashes, from the leaf upwards.
    /// @param root Root of the log.
    function isIncluded(
        bytes32 leaf,
        uint64 index,
        uint64 size,
        bytes32[] calldata path,
        bytes32 root
    ) internal pure returns (bool) {
        if (index >= size) return false;
        (uint64 node, uint64 last, bytes32 found) = (index, size - 1, leaf);
        for (uint256 i = 0; i < path.length; ++i) {
            if (last == 0) return false;
            if (node & 1 == 1 || node == last) {
                found = _parent(path[i], found);
                (node, last) = _climb(node, last);
            } else {
                found = _parent(found, path[i]);
            }
            (node, last) = (node >> 1, last >> 1);
        }
        return last == 0 && found == root;
    }

    /// @notice Whether the second log begins with exactly the entries of the first.
    /// RFC 9162 section 2.1.4.2. The first may not be empty; equal sizes need equal roots and no
    /// proof.
    function isExtension(
        uint64 firstSize,
        bytes32 firstRoot,
        uint64 secondSize,
        bytes32 secondRoot,
        bytes32[] calldata path
    ) internal pure returns (bool) {
        if (firstSize == 0 || firstSize > secondSize) return false;
        if (firstSize == secondSize) return firstRoot == secondRoot && path.length == 0;
        // A first log of a power of two is a node of the second: the proof leaves its root out.
        bool whole = firstSize & (firstSize - 1) == 0;
        if (!whole && path.length == 0) return false;
        (uint64 node, uint64 last) = (firstSize - 1, secondSize - 1);
        while (node & 1 == 1) (node, last) = (node >> 1, last >> 1);
        bytes32 first = whole ? firstRoot : path[0];
        bytes32 second = first;
        for (uint256 i = whole ? 0 : 1; i < path.length; ++i) {
            if (last == 0) return false;
            if (node & 1 == 1 || node == last) {
                first = _parent(path[i], first);
                second = _parent(path[i], second);
                (node, last) = _climb(node, last);
            } else {
                second = _parent(second, path[i]);
            }
            (node, last) = (node >> 1, last >> 1);
        }
        return last == 0 && first == firstRoot && second == secondRoot;
    }

    /// @dev Skips the levels at which the right-most node has no sibling.
    function _climb(uint64 node, uint64 last) private pure returns (uint64, uint64) {
        while (node & 1 == 0 && node != 0) (node, last) = (node >> 1, last >> 1);
        return (node, last);
    }

    function _parent(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(1), left, right));
    }
}
