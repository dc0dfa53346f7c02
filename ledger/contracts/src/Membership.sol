// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @title Membership
/// @notice Which organisations form the network. The founders are fixed by the founding file that
/// all of them signed; anyone later needs the endorsement of the hospitals, never of the
/// coordinator alone, so that nobody can surround a hospital with invented peers.
///
/// A member may be suspended, and reinstated, by the hospitals other than itself. That takes away
/// what it could do for others (relay, approve, reserve, vote); it never stands between a patient
/// and a withdrawal, nor between a member and its own evidence (fences, caps, audit logs).
///
/// Storage, part of the interface: slot 0 `hospitalCount` 16 | `suspendedHospitals` 16 from the
/// lowest bit, slot 1 `_members`, slot 2 `_numberOfAccount`, slot 3 `_numberOfId`, slot 4
/// `_standings`, slot 5 `_votes`.
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

    /// @notice Whether a member is suspended.
    /// @param suspended It may do nothing for others now.
    /// @param changes How often this changed: votes count for one change only.
    struct Standing {
        bool suspended;
        uint32 changes;
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

    /// @notice A hospital voted to suspend (or else to reinstate) a member.
    event SuspensionVoted(
        bytes32 indexed id,
        address indexed by,
        bool suspending,
        uint256 votes
    );
    /// @notice A member was suspended.
    event Suspended(bytes32 indexed id);
    /// @notice A suspended member was reinstated.
    event Reinstated(bytes32 indexed id);

    /// @notice The candidate has no identity, no account, no keys or no role.
    error IncompleteMember();
    /// @notice This identity or this account belongs to a member already.
    error AlreadyMember(bytes32 id, address account);
    /// @notice Only an active hospital votes.
    error NotAHospital(address account);
    /// @notice One hospital, one vote in a ballot.
    error AlreadyVoted(bytes32 ballot, address by);
    /// @notice No member has this identity.
    error NotAMember(bytes32 id);
    /// @notice The member is in this state already.
    error NothingToChange(bytes32 id, bool suspended);
    /// @notice Nobody votes in a case of its own.
    error OwnCase(bytes32 id);

    /// @notice Digest of the founding file that every founder signed.
    bytes32 public immutable foundingDigest;

    /// @notice How many hospitals are active.
    uint16 public hospitalCount;
    /// @notice How many hospitals are suspended.
    uint16 public suspendedHospitals;

    Member[] private _members;
    mapping(address account => uint16 number) private _numberOfAccount;
    mapping(bytes32 id => uint16 number) private _numberOfId;
    mapping(uint16 number => Standing) private _standings;
    mapping(bytes32 ballot => uint16[] voters) private _votes;

    /// @param foundingDigest_ Digest of the founding file that all founders signed.
    /// @param founders Its members, in its order: they are numbered from 1.
    constructor(bytes32 foundingDigest_, Member[] memory founders) {
        foundingDigest = foundingDigest_;
        for (uint256 i = 0; i < founders.length; ++i) {
            _join(founders[i]);
        }
    }

    /// @notice Endorses a candidate. All hospitals but one, and at least two, let it in. Suspended
    /// hospitals count among all but do not vote: whoever suspends others does not thereby gain the
    /// power to let invented peers in.
    /// @param candidate The organisation with the exact keys that the caller checked.
    function endorse(Member calldata candidate) external {
        _requireNew(candidate);
        bytes32 ballot = keccak256(abi.encode(candidate));
        uint256 votes = _vote(ballot);
        emit Endorsed(ballot, candidate.id, msg.sender, votes);
        if (votes >= endorsementsNeeded()) _join(candidate);
    }

    /// @notice Votes to suspend a member. All active hospitals other than the member, but one of
    /// them, and at least two, suspend it.
    function suspend(bytes32 id) external {
        _changeStanding(id, true);
    }

    /// @notice Votes to reinstate a suspended member, by the same rule.
    function reinstate(bytes32 id) external {
        _changeStanding(id, false);
    }

    /// @notice How many endorsements let a candidate in now.
    function endorsementsNeeded() public view returns (uint256) {
        return _allButOne(uint256(hospitalCount) + suspendedHospitals);
    }

    /// @notice How many votes suspend or reinstate this member now.
    function suspensionVotesNeeded(bytes32 id) public view returns (uint256) {
        uint256 others = hospitalCount;
        if (isHospitalNumberActive(_numberOfId[id])) --others;
        return _allButOne(others);
    }

    /// @notice How many active hospitals endorsed exactly this candidate so far.
    function endorsementsOf(Member calldata candidate) external view returns (uint256) {
        return _count(_votes[keccak256(abi.encode(candidate))]);
    }

    /// @notice Whether the member with this identity is suspended.
    function isSuspended(bytes32 id) external view returns (bool) {
        return _standings[_numberOfId[id]].suspended;
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

    /// @notice The number of the member with this account, active or suspended, or 0.
    function numberOf(address account) external view returns (uint16) {
        return _numberOfAccount[account];
    }

    /// @notice The number of the active hospital with this account, or 0.
    function hospitalNumber(address account) public view returns (uint16 number) {
        number = _numberOfAccount[account];
        if (!isHospitalNumberActive(number)) number = 0;
    }

    /// @notice Whether the member with this number is a hospital and active.
    function isHospitalNumberActive(uint16 number) public view returns (bool) {
        return
            number != 0 &&
            number <= _members.length &&
            _members[number - 1].role == Role.Hospital &&
            !_standings[number].suspended;
    }

    /// @notice Whether this account belongs to an active member.
    function isActive(address account) external view returns (bool) {
        uint16 number = _numberOfAccount[account];
        return number != 0 && !_standings[number].suspended;
    }

    /// @notice Whether this account belongs to a hospital, active or suspended.
    function isHospital(address account) external view returns (bool) {
        uint16 number = _numberOfAccount[account];
        return number != 0 && _members[number - 1].role == Role.Hospital;
    }

    function _allButOne(uint256 count) private pure returns (uint256) {
        return count > 3 ? count - 1 : 2;
    }

    function _changeStanding(bytes32 id, bool suspending) private {
        uint16 number = _numberOfId[id];
        if (number == 0) revert NotAMember(id);
        if (number == _numberOfAccount[msg.sender]) revert OwnCase(id);
        Standing storage standing = _standings[number];
        if (standing.suspended == suspending) revert NothingToChange(id, suspending);
        uint256 votes = _vote(keccak256(abi.encode(number, standing.changes)));
        emit SuspensionVoted(id, msg.sender, suspending, votes);
        if (votes < suspensionVotesNeeded(id)) return;
        standing.suspended = suspending;
        ++standing.changes;
        if (_members[number - 1].role == Role.Hospital) {
            if (suspending) {
                --hospitalCount;
                ++suspendedHospitals;
            } else {
                ++hospitalCount;
                --suspendedHospitals;
            }
        }
        if (suspending) emit Suspended(id);
        else emit Reinstated(id);
    }

    /// @dev Adds the caller's vote; a vote counts while its hospital is active.
    function _vote(bytes32 ballot) private returns (uint256) {
        uint16 number = hospitalNumber(msg.sender);
        if (number == 0) revert NotAHospital(msg.sender);
        uint16[] storage voters = _votes[ballot];
        for (uint256 i = 0; i < voters.length; ++i) {
            if (voters[i] == number) revert AlreadyVoted(ballot, msg.sender);
        }
        voters.push(number);
        return _count(voters);
    }

    function _count(uint16[] storage voters) private view returns (uint256 votes) {
        for (uint256 i = 0; i < voters.length; ++i) {
            if (isHospitalNumberActive(voters[i])) ++votes;
        }
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
