// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Consent} from "../src/Consent.sol";
import {Membership} from "../src/Membership.sol";
import {Provenance} from "../src/Provenance.sol";

/// @notice The cheat codes that are used here (forge's own library is not needed for four of them).
interface Vm {
    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }

    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8, bytes32, bytes32);
    function prank(address sender) external;
    function warp(uint256 time) external;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
}

/// @notice Does at random what members, patients and strangers may try, and keeps its own books.
contract Handler {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bytes32 private constant GRANT_TYPE =
        keccak256(
            "Grant(bytes32 network,bytes32 study,address subject,uint128 purposes,bytes32 purposeTable,bytes32 scope,bytes32 termsShown,uint64 notBefore,uint64 expiry,uint32 nonce,uint64 submitBy)"
        );
    bytes32 private constant WITHDRAWAL_TYPE =
        keccak256(
            "Withdrawal(bytes32 network,bytes32 study,address subject,uint32 nonce,uint64 signedAt)"
        );
    bytes32 public constant NETWORK = keccak256("network");
    bytes32 public constant STUDY = keccak256("study");
    bytes32 public constant PLAN = keccak256("plan");

    Membership public membership;
    Consent public consent;
    Provenance public provenance;
    bytes32 public folded;
    uint256 public changes;
    bool public nonceWentBack;
    bool public reservedBeyondCap;
    bool public grantedAfterWithdrawal;
    mapping(address => uint32) private _withdrawnUpTo;
    mapping(address => bool) private _withdrawn;

    constructor() {
        vm.warp(1_800_000_000);
        Membership.Member[] memory founders = new Membership.Member[](5);
        for (uint256 i = 0; i < 5; ++i) {
            founders[i] = Membership.Member(
                bytes32(i + 1),
                vm.addr(i + 1),
                bytes32(i + 1),
                i == 0 ? Membership.Role.Coordinator : Membership.Role.Hospital
            );
        }
        membership = new Membership(keccak256("founding"), founders);
        consent = new Consent(membership, NETWORK);
        provenance = new Provenance(membership, Provenance(address(0)));
        vm.prank(vm.addr(1));
        provenance.record(
            Provenance.Item(PLAN, Provenance.Kind.Plan, 1, new bytes32[](0))
        );
    }

    function grant(uint8 patient, uint8 hospital, int8 offset, bool forged) external {
        uint256 key = 100 + (patient % 3);
        address subject = vm.addr(key);
        uint32 before = consent.nonceOf(STUDY, subject);
        uint32 nonce = uint32(uint256(int256(uint256(before)) + offset));
        Consent.Grant[] memory grants = new Consent.Grant[](1);
        grants[0] = Consent.Grant({
            network: NETWORK,
            study: STUDY,
            subject: subject,
            purposes: 5,
            purposeTable: 0,
            scope: 0,
            termsShown: 0,
            notBefore: 0,
            expiry: uint64(((block.timestamp / 1 days) + 9) * 1 days),
            nonce: nonce,
            submitBy: uint64(block.timestamp)
        });
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _sign(forged ? 7 : key, keccak256(abi.encode(GRANT_TYPE, grants[0])));
        vm.recordLogs();
        vm.prank(vm.addr(1 + (hospital % 6)));
        try consent.grantBatch(grants, signatures) {} catch {}
        _fold(subject, before);
        bool active = consent.slotOf(STUDY, subject) >> 128 != 0;
        if (active && _withdrawn[subject] && consent.nonceOf(STUDY, subject) > before) {
            // A grant took effect after a withdrawal: it must be one that the withdrawal left open.
            if (nonce < _withdrawnUpTo[subject]) grantedAfterWithdrawal = true;
        }
        if (active && forged && consent.nonceOf(STUDY, subject) > before) {
            grantedAfterWithdrawal = true;
        }
    }

    function withdraw(uint8 patient, uint8 sender, int8 offset) external {
        uint256 key = 100 + (patient % 3);
        address subject = vm.addr(key);
        uint32 before = consent.nonceOf(STUDY, subject);
        uint32 nonce = uint32(uint256(int256(uint256(before)) + offset));
        Consent.Withdrawal memory item = Consent.Withdrawal(
            NETWORK,
            STUDY,
            subject,
            nonce,
            uint64(block.timestamp)
        );
        bytes memory signature = _sign(key, keccak256(abi.encode(WITHDRAWAL_TYPE, item)));
        vm.recordLogs();
        vm.prank(vm.addr(1 + (sender % 9)));
        try consent.withdraw(item, signature) {
            _withdrawn[subject] = true;
            _withdrawnUpTo[subject] = consent.nonceOf(STUDY, subject);
            if (consent.slotOf(STUDY, subject) >> 128 != 0) grantedAfterWithdrawal = true;
        } catch {}
        _fold(subject, before);
    }

    function attest(uint8 patient, uint8 hospital) external {
        address subject = vm.addr(100 + (patient % 3));
        uint32 before = consent.nonceOf(STUDY, subject);
        vm.recordLogs();
        vm.prank(vm.addr(1 + (hospital % 6)));
        try consent.attestWithdrawal(STUDY, subject) {} catch {}
        _fold(subject, before);
    }

    function approve(uint8 hospital) external {
        vm.prank(vm.addr(1 + (hospital % 6)));
        try provenance.approve(PLAN) {} catch {}
    }

    function stateCap(uint8 hospital, uint16 cap) external {
        vm.prank(vm.addr(1 + (hospital % 6)));
        try provenance.stateCap(cap) {} catch {}
    }

    function reserve(uint8 hospital, uint256 run, uint16 amount, bool batch) external {
        address sender = vm.addr(1 + (hospital % 6));
        uint64 before = provenance.spentBy(sender);
        Provenance.Booking[] memory items = new Provenance.Booking[](2);
        items[0] = Provenance.Booking(bytes32(run), PLAN, amount);
        items[1] = Provenance.Booking(keccak256(abi.encode(run)), PLAN, uint64(amount) * 2);
        vm.prank(sender);
        if (batch) {
            try provenance.reserveBatch(items) {} catch {}
        } else {
            try provenance.reserve(items[0]) {} catch {}
        }
        uint64 spent = provenance.spentBy(sender);
        if (spent < before) reservedBeyondCap = true;
        if (spent > before && spent > provenance.capOf(sender).microMu2) reservedBeyondCap = true;
    }

    function vote(uint8 hospital, uint8 about, bool suspending) external {
        vm.prank(vm.addr(1 + (hospital % 6)));
        bytes32 id = bytes32(uint256(1 + (about % 5)));
        if (suspending) {
            try membership.suspend(id) {} catch {}
        } else {
            try membership.reinstate(id) {} catch {}
        }
    }

    function wait_(uint32 time) external {
        vm.warp(block.timestamp + (time % 40 days));
    }

    function _sign(uint256 key, bytes32 content) private view returns (bytes memory) {
        bytes32 digest = keccak256(
            abi.encodePacked("\x19\x01", consent.domainSeparator(), content)
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    /// @dev Folds the events that came, as a mirror does, and watches the nonce.
    function _fold(address subject, uint32 before) private {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] != Consent.ConsentChanged.selector) continue;
            (uint64 sequence, uint256 slot) = abi.decode(logs[i].data, (uint64, uint256));
            folded = keccak256(
                abi.encode(folded, logs[i].topics[1], logs[i].topics[2], slot, logs[i].topics[3])
            );
            if (sequence != ++changes) nonceWentBack = true;
        }
        if (consent.nonceOf(STUDY, subject) < before) nonceWentBack = true;
    }
}

/// @notice What holds after whatever anybody does.
contract Invariants {
    Handler private _handler;

    function setUp() external {
        _handler = new Handler();
    }

    function targetContracts() external view returns (address[] memory found) {
        found = new address[](1);
        found[0] = address(_handler);
    }

    function invariant_the_head_is_the_fold_of_all_events() external view {
        assert(_handler.consent().head() == _handler.folded());
        assert(_handler.consent().sequence() == _handler.changes());
    }

    function invariant_a_nonce_never_goes_back() external view {
        assert(!_handler.nonceWentBack());
    }

    function invariant_what_was_withdrawn_never_passes() external view {
        assert(!_handler.grantedAfterWithdrawal());
    }

    function invariant_nothing_is_reserved_beyond_the_cap_and_no_spend_is_lowered() external view {
        assert(!_handler.reservedBeyondCap());
    }

    function invariant_at_least_two_hospitals_stay_active() external view {
        assert(_handler.membership().hospitalCount() >= 2);
    }
}
