/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The rules of the event core, by name, and the switch that turns one off: included before anything else (-include) when
 * the core is compiled for the model checker. A rule that the core uses and this list lacks does not compile; one that
 * the list has and nothing notices fails the suite.
 */
#ifndef STRATA_UNIT_EVENT_RULES_H
#define STRATA_UNIT_EVENT_RULES_H

#define EVENT_RULES(R) \
	R(CLASS_SOFT_BENIGN) \
	R(CLASS_DOUBLE_FAULT) \
	R(CLASS_PAGE_FAULT) \
	R(CLASS_CONTRIBUTORY) \
	R(MERGE_SHUTDOWN) \
	R(MERGE_CONTRIBUTORY) \
	R(MERGE_PAGE_FAULT) \
	R(RAISE_REPLAY) \
	R(RAISE_ACCUMULATE) \
	R(RUN_PENDING_NMI) \
	R(RUN_PENDING_STAYS) \
	R(SOFT_REPLAY) \
	R(HOLD_NMI) \
	R(HOLD_INTERRUPT) \
	R(SETTLE_L1_FIRST) \
	R(NMI_LATCH) \
	R(INIT_DROPS_SIPI) \
	R(INTERRUPT_EXISTS) \
	R(SETTLE_SOFT) \
	R(SETTLE_OPEN) \
	R(DROP_GUESTS) \
	R(DROP_REPLAY) \
	R(TRAP_HELD) \
	R(RSM_NMI) \
	R(RSM_TRAP) \
	R(L1_PF_FILTER) \
	R(L1_EXCEPTION) \
	R(RUN_PENDING_BLOCKS) \
	R(SMI_SMM) \
	R(SMI_GIF) \
	R(INIT_SMM) \
	R(INIT_GIF) \
	R(INIT_VMXON) \
	R(NMI_GIF) \
	R(NMI_L1_UNBLOCKED) \
	R(NMI_MASKED) \
	R(NMI_MOV_SS) \
	R(NMI_STI) \
	R(INTR_IF) \
	R(INTR_GIF) \
	R(INTR_SHADOW) \
	R(TRAP_MOV_SS) \
	R(PLACE_STASH) \
	R(PLACE_DELIVERING) \
	R(PLACE_EXTINT) \
	R(OPEN_DELIVERING) \
	R(OPEN_EXCEPTION) \
	R(WAKES_WAIT) \
	R(SHUTDOWN_L1) \
	R(DB_MERGES) \
	R(APPLY_PAYLOAD) \
	R(FAULT_SETS_RF) \
	R(TRAP_ROW) \
	R(SMI_L1) \
	R(SMI_MASKS_NMI) \
	R(SMI_KEEPS_TRAP) \
	R(INIT_L1) \
	R(SIPI_FOLLOWS_INIT) \
	R(NMI_MASKS) \
	R(INTR_L1) \
	R(WINDOW_BEFORE_CHIP) \
	R(WINDOW_FULL_CHIP) \
	R(IRQ_WINDOW) \
	R(NMI_WINDOW) \
	R(GIF_WINDOW) \
	R(EXIT_SOON) \
	R(TRAP_WINDOW) \
	R(WAIT_FOR_SIPI) \
	R(SIPI_IGNORED) \
	R(SAVE_HIDES_L1) \
	R(SAVE_HIDES_REPLAY) \
	R(SAVE_PENDING) \
	R(SAVE_STASH) \
	R(SAVE_SETTLED) \
	R(SAVE_INBOX) \
	R(SAVE_TRIPLE) \
	R(CHECK_PAYLOAD) \
	R(CHECK_TRIPLE) \
	R(CHECK_SMM) \
	R(RESTORE_KIND) \
	R(RESTORE_SETTLES) \
	R(RESTORE_PENDING_WINS) \
	R(RESTORE_YIELDS) \
	R(BITMAP_KNOWN) \
	R(VIEW_CR2) \
	R(VIEW_DR6)

#define R(name) RULE_##name,
enum event_rule { EVENT_RULES(R) NR_EVENT_RULES };
#undef R

/* The rule that is off; NR_EVENT_RULES: none */
extern enum event_rule event_mutant;

#define EVENT_RULE(name, cond) (event_mutant != RULE_##name && (cond))

#endif
