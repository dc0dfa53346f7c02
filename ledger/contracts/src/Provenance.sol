// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Membership} from "./Membership.sol";

/// @title Provenance
/// @notice What went into what, who agreed to it, and how much privacy each hospital has committed.
/// Only digests of documents stand here, and the spend, which is public by design: a worst case
/// fixed before a run starts, not a figure that depends on any patient.
///
/// A contract that replaces another reads it as its predecessor: records, reservations, spend, caps
/// and fences are never forgotten by moving. Approvals are given anew.
///
/// Storage, part of the interface because proofs read it: slot 0 `_records[digest]` (kind 8 |
/// recordedBy 160 | recordedAt 64 | quorum 16 from the lowest bit), slot 1 `_approvals[digest]`,
/// slot 2 `_hasApproved[digest][by]`, slot 3 `_reservations[hospital][run]` (two words: plan, then
/// microMu2), slot 4 `_spent[hospital]`, slot 5 `_fences[member]`, slot 6 `_caps[hospital]`
/// (microMu2 64 | next 64 | nextFrom 64 | stated 8 from the lowest bit).
contract Provenance {
    /// @notice What a digest names.
    enum Kind {
        None,
        Study,
        Plan,
        Dataset,
        Code,
        Model,
        Pack
    }

    /// @notice What is to be recorded.
    /// @param digest Digest of the document.
    /// @param kind What it is.
    /// @param quorum How many hospitals must approve it: a study and a plan need at least one,
    /// nothing else has any.
    /// @param parents What it came from; recorded before.
    struct Item {
        bytes32 digest;
        Kind kind;
        uint16 quorum;
        bytes32[] parents;
    }

    /// @notice One record.
    /// @param kind What it is.
    /// @param recordedBy Account of the member that recorded it first.
    /// @param recordedAt Block time, Unix seconds.
    /// @param quorum How many hospitals must approve it.
    struct Record {
        Kind kind;
        address recordedBy;
        uint64 recordedAt;
        uint16 quorum;
    }

    /// @notice What is to be reserved.
    /// @param run Name of the run.
    /// @param plan Digest of the plan that the hospital read.
    /// @param microMu2 Worst case of the run, in millionths of mu squared, rounded up.
    struct Booking {
        bytes32 run;
        bytes32 plan;
        uint64 microMu2;
    }

    /// @notice What a hospital committed to a run before it computed anything.
    /// @param plan Digest of the plan that it read.
    /// @param microMu2 Worst case of the run, in millionths of mu squared, rounded up.
    struct Reservation {
        bytes32 plan;
        uint64 microMu2;
    }

    /// @notice The most that a hospital will ever commit, by its own word.
    /// @param microMu2 In millionths of mu squared.
    /// @param next A higher cap that comes, or 0.
    /// @param nextFrom When it comes, Unix seconds, or 0.
    /// @param stated Whether the hospital ever stated one; it commits nothing before.
    struct Cap {
        uint64 microMu2;
        uint64 next;
        uint64 nextFrom;
        bool stated;
    }

    /// @notice A digest was recorded for the first time.
    event Recorded(
        bytes32 indexed digest,
        Kind indexed kind,
        address indexed by,
        uint16 quorum,
        bytes32[] parents
    );
    /// @notice A hospital agreed to a record.
    event Approved(bytes32 indexed digest, address indexed by, uint256 approvals);
    /// @notice A hospital committed part of its privacy budget; `spent` is its total since ever.
    event Reserved(
        address indexed hospital,
        bytes32 indexed run,
        bytes32 indexed plan,
        uint64 microMu2,
        uint64 spent
    );
    /// @notice A hospital stated its cap; it holds from this time on (Unix seconds).
    event CapStated(address indexed hospital, uint64 microMu2, uint64 holdsFrom);
    /// @notice A member's process started; an older process that sees this must stop.
    event FenceRaised(address indexed by, uint64 fence);
    /// @notice An item of a batch was left out; the others went on.
    /// @param name Digest of the record, or name of the run.
    /// @param problem The error with which the item alone would have been refused, ABI-encoded.
    event Skipped(bytes32 indexed name, bytes problem);

    /// @notice Only an active member records; only a member raises a fence.
    error NotAMember(address account);
    /// @notice Only a hospital does this; approving and reserving, only an active one.
    error NotAHospital(address account);
    /// @notice A record needs a digest and a kind.
    error IncompleteRecord();
    /// @notice A study and a plan need a quorum; nothing else has one.
    error WrongQuorum(bytes32 digest, uint16 quorum);
    /// @notice The first record of a digest stands.
    error AlreadyRecorded(bytes32 digest);
    /// @notice Nothing is recorded under this digest.
    error NotRecorded(bytes32 digest);
    /// @notice This digest does not name a plan.
    error NotAPlan(bytes32 digest);
    /// @notice One hospital, one approval.
    error AlreadyApproved(bytes32 digest, address by);
    /// @notice The caller has not approved this plan, or too few hospitals have.
    error NotApproved(bytes32 digest, uint256 approvals, uint256 quorum);
    /// @notice A reservation needs a run and an amount.
    error IncompleteReservation();
    /// @notice One hospital, one reservation for a run.
    error AlreadyReserved(bytes32 run, address by);
    /// @notice The hospital's spend would pass its own cap.
    error OverCap(uint256 spend, uint64 cap);

    /// @notice How long a higher cap waits before it holds, in seconds.
    uint64 public constant RAISE_DELAY = 30 days;

    /// @notice Who the members are.
    Membership public immutable membership;
    /// @notice The contract that this one replaced, or zero.
    Provenance public immutable predecessor;

    mapping(bytes32 digest => Record) private _records;
    mapping(bytes32 digest => uint256) private _approvals;
    mapping(bytes32 digest => mapping(address by => bool)) private _hasApproved;
    mapping(address hospital => mapping(bytes32 run => Reservation)) private _reservations;
    mapping(address hospital => uint64) private _spent;
    mapping(address member => uint64) private _fences;
    mapping(address hospital => Cap) private _caps;

    /// @param membership_ Says who the members are.
    /// @param predecessor_ The contract that this one replaces, or zero.
    constructor(Membership membership_, Provenance predecessor_) {
        membership = membership_;
        predecessor = predecessor_;
    }

    /// @notice Records a digest with what it came from. Parents must be there already, so the
    /// graph has no cycles and no loose ends.
    function record(Item calldata item) external {
        _requireActive();
        _revertWith(_tryRecord(item));
    }

    /// @notice Records many, in order. A bad one is left out with its problem and stops no other,
    /// except those that name it as a parent.
    function recordBatch(Item[] calldata items) external {
        _requireActive();
        for (uint256 i = 0; i < items.length; ++i) {
            bytes memory problem = _tryRecord(items[i]);
            if (problem.length != 0) emit Skipped(items[i].digest, problem);
        }
    }

    /// @notice Agrees to a record, as a hospital.
    function approve(bytes32 digest) external {
        _requireActiveHospital();
        if (recordOf(digest).kind == Kind.None) revert NotRecorded(digest);
        if (_hasApproved[digest][msg.sender]) revert AlreadyApproved(digest, msg.sender);
        _hasApproved[digest][msg.sender] = true;
        emit Approved(digest, msg.sender, ++_approvals[digest]);
    }

    /// @notice States the most that the caller will ever commit. The first statement and any lower
    /// one hold at once, a higher one after `RAISE_DELAY`; the newest statement replaces one that
    /// waits. A suspended hospital may.
    function stateCap(uint64 microMu2) external {
        if (!membership.isHospital(msg.sender)) revert NotAHospital(msg.sender);
        Cap memory cap = capOf(msg.sender);
        uint64 holdsFrom = uint64(block.timestamp);
        if (!cap.stated || microMu2 <= cap.microMu2) {
            cap = Cap(microMu2, 0, 0, true);
        } else {
            holdsFrom += RAISE_DELAY;
            cap = Cap(cap.microMu2, microMu2, holdsFrom, true);
        }
        _caps[msg.sender] = cap;
        emit CapStated(msg.sender, microMu2, holdsFrom);
    }

    /// @notice Commits the worst case of a run to the caller's spend, before anything is computed.
    /// Nothing ever lowers it: what is on record may be more than what was spent, never less.
    function reserve(Booking calldata booking) external {
        _requireActiveHospital();
        _revertWith(_tryReserve(booking));
    }

    /// @notice Reserves for many runs, in order. A bad one is left out with its problem.
    function reserveBatch(Booking[] calldata bookings) external {
        _requireActiveHospital();
        for (uint256 i = 0; i < bookings.length; ++i) {
            bytes memory problem = _tryReserve(bookings[i]);
            if (problem.length != 0) emit Skipped(bookings[i].run, problem);
        }
    }

    /// @notice Announces a new process of the caller; returns its number, from 1. A suspended
    /// member may: its desk still takes withdrawals.
    function raiseFence() external returns (uint64 raised) {
        if (membership.numberOf(msg.sender) == 0) revert NotAMember(msg.sender);
        ++_fences[msg.sender];
        raised = fence(msg.sender);
        emit FenceRaised(msg.sender, raised);
    }

    /// @notice The record under a digest; all zero if there is none.
    function recordOf(bytes32 digest) public view returns (Record memory found) {
        found = _records[digest];
        if (found.kind == Kind.None && _isSuccessor()) found = predecessor.recordOf(digest);
    }

    /// @notice How many hospitals approved a record.
    function approvals(bytes32 digest) external view returns (uint256) {
        return _approvals[digest];
    }

    /// @notice Whether this account approved the record.
    function hasApproved(bytes32 digest, address by) external view returns (bool) {
        return _hasApproved[digest][by];
    }

    /// @notice Whether as many hospitals approved the record as it asks for. What asks for none is
    /// never approved.
    function isApproved(bytes32 digest) public view returns (bool) {
        uint16 quorum = recordOf(digest).quorum;
        return quorum != 0 && _approvals[digest] >= quorum;
    }

    /// @notice All that a hospital ever committed, in millionths of mu squared.
    function spentBy(address hospital) public view returns (uint64 spent) {
        spent = _spent[hospital];
        if (_isSuccessor()) spent += predecessor.spentBy(hospital);
    }

    /// @notice The hospital's cap as it holds now, and a higher one that waits.
    function capOf(address hospital) public view returns (Cap memory cap) {
        cap = _caps[hospital];
        if (!cap.stated && _isSuccessor()) cap = predecessor.capOf(hospital);
        if (cap.nextFrom != 0 && block.timestamp >= cap.nextFrom) cap = Cap(cap.next, 0, 0, true);
    }

    /// @notice What a hospital committed to a run; all zero if nothing.
    function reservation(
        address hospital,
        bytes32 run
    ) public view returns (Reservation memory found) {
        found = _reservations[hospital][run];
        if (found.microMu2 == 0 && _isSuccessor()) found = predecessor.reservation(hospital, run);
    }

    /// @notice The number of a member's newest process.
    function fence(address account) public view returns (uint64 newest) {
        newest = _fences[account];
        if (_isSuccessor()) newest += predecessor.fence(account);
    }

    function _tryRecord(Item calldata item) private returns (bytes memory problem) {
        bytes32 digest = item.digest;
        if (digest == 0 || item.kind == Kind.None) {
            return abi.encodeWithSelector(IncompleteRecord.selector);
        }
        bool needsApproval = item.kind == Kind.Study || item.kind == Kind.Plan;
        if (needsApproval != (item.quorum != 0)) {
            return abi.encodeWithSelector(WrongQuorum.selector, digest, item.quorum);
        }
        if (recordOf(digest).kind != Kind.None) {
            return abi.encodeWithSelector(AlreadyRecorded.selector, digest);
        }
        for (uint256 i = 0; i < item.parents.length; ++i) {
            if (recordOf(item.parents[i]).kind == Kind.None) {
                return abi.encodeWithSelector(NotRecorded.selector, item.parents[i]);
            }
        }
        _records[digest] = Record(item.kind, msg.sender, uint64(block.timestamp), item.quorum);
        emit Recorded(digest, item.kind, msg.sender, item.quorum, item.parents);
    }

    function _tryReserve(Booking calldata booking) private returns (bytes memory problem) {
        (bytes32 run, bytes32 plan, uint64 microMu2) = (booking.run, booking.plan, booking.microMu2);
        if (run == 0 || microMu2 == 0) {
            return abi.encodeWithSelector(IncompleteReservation.selector);
        }
        Record memory planned = recordOf(plan);
        if (planned.kind != Kind.Plan) return abi.encodeWithSelector(NotAPlan.selector, plan);
        if (reservation(msg.sender, run).microMu2 != 0) {
            return abi.encodeWithSelector(AlreadyReserved.selector, run, msg.sender);
        }
        if (!_hasApproved[plan][msg.sender] || _approvals[plan] < planned.quorum) {
            return
                abi.encodeWithSelector(
                    NotApproved.selector,
                    plan,
                    _approvals[plan],
                    planned.quorum
                );
        }
        uint256 spend = uint256(spentBy(msg.sender)) + microMu2;
        uint64 cap = capOf(msg.sender).microMu2;
        if (spend > cap) return abi.encodeWithSelector(OverCap.selector, spend, cap);
        _reservations[msg.sender][run] = Reservation(plan, microMu2);
        _spent[msg.sender] += microMu2;
        emit Reserved(msg.sender, run, plan, microMu2, uint64(spend)); // at most the cap, 64 bits
    }

    function _isSuccessor() private view returns (bool) {
        return address(predecessor) != address(0);
    }

    function _requireActive() private view {
        if (!membership.isActive(msg.sender)) revert NotAMember(msg.sender);
    }

    function _requireActiveHospital() private view {
        if (membership.hospitalNumber(msg.sender) == 0) revert NotAHospital(msg.sender);
    }

    /// @dev Reverts with an error that was built before, if there is one.
    function _revertWith(bytes memory problem) private pure {
        if (problem.length == 0) return;
        assembly ("memory-safe") {
            revert(add(problem, 0x20), mload(problem))
        }
    }
}
