// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @title Membership
/// @notice Which organisations form the network. The founders are fixed by the founding file that
/// all of them signed; anyone later needs the endorsement of the hospitals, never of the
/// coordinator alone, so that nobody can surround a hospital with invented peers.
contract Membership {
    /// @notice What an organisation does here. The coordinator has no vote on who joins.
    enum Role {
        None,
        Coordinator,
        Hospital
    }

    /// @notice One organisation.
    /// @param id SHA-256 of its raw Ed25519 identity key.
    /// @param account Its account on this ledger.
    /// @param keys Digest of its signed keys document, which binds all its other keys.
    /// @param role What it does here.
    struct Member {
        bytes32 id;
        address account;
        bytes32 keys;
        Role role;
    }

    /// @notice A member joined, as a founder or by endorsement.
    event Joined(
        bytes32 indexed id,
        address indexed account,
        bytes32 keys,
        Role role,
        uint16 number
    );
    /// @notice A hospital stated that it wants this candidate in, with exactly these keys.
    event Endorsed(
        bytes32 indexed candidate,
        bytes32 indexed id,
        address indexed by,
        uint256 endorsements
    );

    /// @notice The candidate has no identity, no account, no keys or no role.
    error IncompleteMember();
    /// @notice This identity or this account belongs to a member already.
    error AlreadyMember(bytes32 id, address account);
    /// @notice Only an active hospital endorses.
    error NotAHospital(address account);
    /// @notice One hospital, one endorsement.
    error AlreadyEndorsed(bytes32 candidate, address by);

    /// @notice Digest of the founding file that every founder signed.
    bytes32 public immutable foundingDigest;

    /// @notice How many hospitals are active.
    uint16 public hospitalCount;

    Member[] private _members;
    mapping(address account => uint16 number) private _numberOfAccount;
    mapping(bytes32 id => uint16 number) private _numberOfId;
    mapping(bytes32 candidate => mapping(address by => bool)) private _hasEndorsed;
    mapping(bytes32 candidate => uint256) private _endorsements;

    constructor(bytes32 foundingDigest_, Member[] memory founders) {
        foundingDigest = foundingDigest_;
        for (uint256 i = 0; i < founders.length; ++i) {
            _join(founders[i]);
        }
    }

    /// @notice Endorses a candidate. All active hospitals but one, and at least two, let it in;
    /// the number that is needed is taken at the moment of each endorsement.
    /// @param candidate The organisation with the exact keys that the caller checked.
    function endorse(Member calldata candidate) external {
        if (!isActiveHospital(msg.sender)) revert NotAHospital(msg.sender);
        _requireNew(candidate);
        bytes32 digest = keccak256(abi.encode(candidate));
        if (_hasEndorsed[digest][msg.sender]) revert AlreadyEndorsed(digest, msg.sender);
        _hasEndorsed[digest][msg.sender] = true;
        uint256 endorsements = ++_endorsements[digest];
        emit Endorsed(digest, candidate.id, msg.sender, endorsements);
        if (endorsements >= endorsementsNeeded()) _join(candidate);
    }

    /// @notice How many endorsements let a candidate in now.
    function endorsementsNeeded() public view returns (uint256) {
        return hospitalCount > 3 ? hospitalCount - 1 : 2;
    }

    /// @notice How many hospitals endorsed exactly this candidate so far.
    function endorsementsOf(Member calldata candidate) external view returns (uint256) {
        return _endorsements[keccak256(abi.encode(candidate))];
    }

    /// @notice The member with this account; all zero if there is none.
    function memberOf(address account) external view returns (Member memory) {
        return _byNumber(_numberOfAccount[account]);
    }

    /// @notice The member with this identity; all zero if there is none.
    function member(bytes32 id) external view returns (Member memory) {
        return _byNumber(_numberOfId[id]);
    }

    /// @notice How many members there are; they are numbered from 1 in the order of joining.
    function memberCount() external view returns (uint256) {
        return _members.length;
    }

    /// @notice The member with this number; all zero if there is none.
    function memberAt(uint16 number) external view returns (Member memory) {
        return _byNumber(number);
    }

    /// @notice The number of the active hospital with this account, or 0.
    function hospitalNumber(address account) public view returns (uint16 number) {
        number = _numberOfAccount[account];
        if (number != 0 && _members[number - 1].role != Role.Hospital) number = 0;
    }

    /// @notice Whether this account belongs to an active member.
    function isActive(address account) public view returns (bool) {
        return _numberOfAccount[account] != 0;
    }

    /// @notice Whether this account belongs to an active hospital.
    function isActiveHospital(address account) public view returns (bool) {
        return hospitalNumber(account) != 0;
    }

    function _byNumber(uint16 number) private view returns (Member memory found) {
        if (number != 0 && number <= _members.length) found = _members[number - 1];
    }

    function _requireNew(Member memory candidate) private view {
        if (
            candidate.id == 0 ||
            candidate.account == address(0) ||
            candidate.keys == 0 ||
            candidate.role == Role.None
        ) revert IncompleteMember();
        if (_numberOfId[candidate.id] != 0 || _numberOfAccount[candidate.account] != 0) {
            revert AlreadyMember(candidate.id, candidate.account);
        }
    }

    function _join(Member memory candidate) private {
        _requireNew(candidate);
        _members.push(candidate);
        uint16 number = SafeCast.toUint16(_members.length);
        _numberOfAccount[candidate.account] = number;
        _numberOfId[candidate.id] = number;
        if (candidate.role == Role.Hospital) ++hospitalCount;
        emit Joined(candidate.id, candidate.account, candidate.keys, candidate.role, number);
    }
}
