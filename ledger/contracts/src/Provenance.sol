// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Membership} from "./Membership.sol";

/// @title Provenance
/// @notice What went into what, who agreed to it, and how much privacy each hospital has committed.
/// Only digests of documents stand here, and the spend, which is public by design: a worst case
/// fixed before a run starts, not a figure that depends on any patient.
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

    /// @notice One record.
    /// @param kind What it is.
    /// @param recordedBy Account of the member that recorded it first.
    /// @param recordedAt Block time, Unix seconds.
    struct Record {
        Kind kind;
        address recordedBy;
        uint64 recordedAt;
    }

    /// @notice What a hospital committed to a run before it computed anything.
    /// @param plan Digest of the plan that it read.
    /// @param microMu2 Worst case of the run, in millionths of mu squared, rounded up.
    struct Reservation {
        bytes32 plan;
        uint64 microMu2;
    }

    /// @notice A digest was recorded for the first time.
    event Recorded(bytes32 indexed digest, Kind indexed kind, address indexed by, bytes32[] parents);
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
    /// @notice A member's process started; an older process that sees this must stop.
    event FenceRaised(address indexed by, uint64 fence);

    /// @notice Only an active member does this.
    error NotAMember(address account);
    /// @notice Only an active hospital does this.
    error NotAHospital(address account);
    /// @notice A record needs a digest and a kind.
    error IncompleteRecord();
    /// @notice The first record of a digest stands.
    error AlreadyRecorded(bytes32 digest);
    /// @notice Nothing is recorded under this digest.
    error NotRecorded(bytes32 digest);
    /// @notice This digest does not name a plan.
    error NotAPlan(bytes32 digest);
    /// @notice One hospital, one approval.
    error AlreadyApproved(bytes32 digest, address by);
    /// @notice A reservation needs a run and an amount.
    error IncompleteReservation();
    /// @notice One hospital, one reservation for a run.
    error AlreadyReserved(bytes32 run, address by);

    /// @notice Who the members are.
    Membership public immutable membership;

    mapping(bytes32 digest => Record) private _records;
    mapping(bytes32 digest => uint256) private _approvals;
    mapping(bytes32 digest => mapping(address by => bool)) private _hasApproved;
    mapping(address hospital => mapping(bytes32 run => Reservation)) private _reservations;
    mapping(address hospital => uint64) private _spent;
    mapping(address member => uint64) private _fences;

    constructor(Membership membership_) {
        membership = membership_;
    }

    /// @notice Records a digest with what it came from. Parents must be there already, so the
    /// graph has no cycles and no loose ends.
    function record(bytes32 digest, Kind kind, bytes32[] calldata parents) external {
        if (!membership.isActive(msg.sender)) revert NotAMember(msg.sender);
        if (digest == 0 || kind == Kind.None) revert IncompleteRecord();
        if (_records[digest].kind != Kind.None) revert AlreadyRecorded(digest);
        for (uint256 i = 0; i < parents.length; ++i) {
            if (_records[parents[i]].kind == Kind.None) revert NotRecorded(parents[i]);
        }
        _records[digest] = Record(kind, msg.sender, uint64(block.timestamp));
        emit Recorded(digest, kind, msg.sender, parents);
    }

    /// @notice Agrees to a record, as a hospital.
    function approve(bytes32 digest) external {
        _requireHospital();
        if (_records[digest].kind == Kind.None) revert NotRecorded(digest);
        if (_hasApproved[digest][msg.sender]) revert AlreadyApproved(digest, msg.sender);
        _hasApproved[digest][msg.sender] = true;
        emit Approved(digest, msg.sender, ++_approvals[digest]);
    }

    /// @notice Commits the worst case of a run to the caller's spend, before anything is computed.
    /// Nothing ever lowers it: what is on record may be more than what was spent, never less.
    function reserve(bytes32 run, bytes32 plan, uint64 microMu2) external {
        _requireHospital();
        if (run == 0 || microMu2 == 0) revert IncompleteReservation();
        if (_records[plan].kind != Kind.Plan) revert NotAPlan(plan);
        if (_reservations[msg.sender][run].microMu2 != 0) revert AlreadyReserved(run, msg.sender);
        _reservations[msg.sender][run] = Reservation(plan, microMu2);
        uint64 spent = _spent[msg.sender] + microMu2;
        _spent[msg.sender] = spent;
        emit Reserved(msg.sender, run, plan, microMu2, spent);
    }

    /// @notice Announces a new process of the caller; returns its number, from 1.
    function raiseFence() external returns (uint64 raised) {
        if (!membership.isActive(msg.sender)) revert NotAMember(msg.sender);
        raised = ++_fences[msg.sender];
        emit FenceRaised(msg.sender, raised);
    }

    /// @notice The record under a digest; all zero if there is none.
    function recordOf(bytes32 digest) external view returns (Record memory) {
        return _records[digest];
    }

    /// @notice How many hospitals approved a record.
    function approvals(bytes32 digest) external view returns (uint256) {
        return _approvals[digest];
    }

    /// @notice Whether this account approved the record.
    function hasApproved(bytes32 digest, address by) external view returns (bool) {
        return _hasApproved[digest][by];
    }

    /// @notice All that a hospital ever committed, in millionths of mu squared.
    function spentBy(address hospital) external view returns (uint64) {
        return _spent[hospital];
    }

    /// @notice What a hospital committed to a run; all zero if nothing.
    function reservation(address hospital, bytes32 run) external view returns (Reservation memory) {
        return _reservations[hospital][run];
    }

    /// @notice The number of a member's newest process.
    function fence(address account) external view returns (uint64) {
        return _fences[account];
    }

    function _requireHospital() private view {
        if (!membership.isActiveHospital(msg.sender)) revert NotAHospital(msg.sender);
    }
}
