/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one border between the x86 machine and SVM or VMX.
 *
 * Each backend answers the same list of questions. The list below is the contract: it generates
 * struct backend_ops, the static calls and their update at load; main.c refuses to load a backend
 * with an empty row.
 *
 * Unless said otherwise an op is called by the vCPU's own thread with its mutex held and the vCPU
 * loaded, and does not sleep.
 */
#ifndef STRATA_BACKEND_H
#define STRATA_BACKEND_H

#include <linux/static_call.h>

#include "strata.h"
#include "emulate/emulate.h"

struct smram_state;

/* Whose exit reasons: tools that read traces know them by these numbers. */
#define STRATA_ISA_VMX	1
#define STRATA_ISA_SVM	2

/**
 * struct backend_caps - what the backend's hardware offers the machine, filled by check()
 * @name: "SVM" or "VMX"
 * @isa: STRATA_ISA_*
 * @vcpu_size: size of the backend's vCPU, which embeds struct vcpu first
 * @tdp_format: how entries of nested page tables look
 * @tdp_levels: depth of nested page tables, 4 or 5
 * @tdp_max_level: largest mapping: 1 (4K), 2 (2M), 3 (1G)
 * @tdp_ad: accessed and dirty bits work
 * @tdp_logs_writes: the CPU notes each 4K leaf whose D bit it sets, and the backend hands that to
 *	mmu_log_write() before the vCPU counts as outside the guest
 * @has_tsc_scaling: guests may have their own TSC rate
 * @tsc_ratio_frac: fraction bits of the ratio
 * @tsc_ratio_max: largest ratio
 * @regs_in_memory: the register ops work without the vCPU being loaded
 * @pdptes_walked: page-directory pointers of PAE paging are read from memory at every walk, which
 *	may set their A bits
 * @nrips: instruction lengths are reported for all exits that need them (always on VMX)
 * @allowed_exit_disables: KVM_X86_DISABLE_EXIT_* that can be honoured
 * @nmi_sti_blocked: an STI shadow blocks NMIs
 * @nested_state_size: of KVM_GET_NESTED_STATE at most; 0 without nested virtualization
 * @nested_msrs: MSRs of nested virtualization that are state, for KVM_GET_MSR_INDEX_LIST
 * @nr_nested_msrs: how many; 0 without nested virtualization
 * @ts_exit_has_error: an intercepted #TS comes with its error code
 * @serves_tpr: the CPU reads and writes TPR for guests that do it by MMIO
 * @ends_at_due: the guest does not run on when the host's TSC has reached vcpu_apic.due, if that is
 *	not 0
 * @leaves_shadow: an NMI window asked for within a shadow ends the guest soon, whatever the
 *	shadowed instruction does
 */
struct backend_caps {
	const char *name;
	u8 isa;
	unsigned int vcpu_size;
	const struct tdp_format *tdp_format;
	u8 tdp_levels;
	u8 tdp_max_level;
	bool tdp_ad;
	bool tdp_logs_writes;
	bool has_tsc_scaling;
	u8 tsc_ratio_frac;
	u64 tsc_ratio_max;
	bool regs_in_memory;
	bool pdptes_walked;
	bool nrips;
	u32 allowed_exit_disables;
	bool nmi_sti_blocked;
	u32 nested_state_size;
	const u32 *nested_msrs;
	u8 nr_nested_msrs;
	bool ts_exit_has_error;
	bool serves_tpr;
	bool ends_at_due;
	bool leaves_shadow;
};

extern struct backend_caps backend_caps;

/*
 * enable, disable: this CPU; interrupts off. enable: -EBUSY if virtualization is in use already.
 * crash: disable on the way down: the host crashes, or restarts in an emergency; maybe in an NMI,
 *	so that anything may have been interrupted.
 * vcpu_init: the control block; may sleep; not loaded. vcpu_destroy: its counterpart; cannot fail.
 * vcpu_load, vcpu_put: preemption off.
 * reset: registers the backend holds, as after RESET (or INIT).
 * cache_reg: fill regs[], cr0, cr3, cr4 or pdptr and set its regs_avail bit.
 * get_segments: all of them at once, for the emulator.
 * get_segment .. set_dt: straight from and to the control block (@idt: IDTR, else GDTR).
 * set_cr0, set_cr3, set_cr4, set_efer: the value is legal and already in struct vcpu; the control
 *	block follows.
 * cpl: current privilege level.
 * shadow, set_shadow: SHADOW_*.
 * take_pending_dbg: debug-trap causes that the control block holds back (DR6 layout): handed over,
 *	and gone from there.
 * skip: step over the instruction that exited, clearing the shadow; false if its length is not
 *	known without decoding (then the caller decodes).
 * enter: interrupts off, event decisions carried out: world switch and back, including exits that
 *	are handled with interrupts still off (it then enters again by itself). Host state is
 *	restored, interrupts still off.
 * after_enter: interrupts off; let the host take what made the guest exit (NMI, external interrupt,
 *	#MC).
 * handle_exit: interrupts on, may sleep.
 * inject: put events.delivering into the control block for the next entry; interrupts off.
 * windows: ask the CPU for the exits the plan wants (and stop asking for those it does not);
 *	interrupts off.
 * view: fill gif, shadow, intr_open, guest-mode intercepts; everything else is filled by the
 *	caller.
 * exit_info: exit reason and friends for traces.
 * update_intercepts: exception and debug intercepts after vcpu->cpu.debug, the VM's forced ones or
 *	vcpu->events.smm changed.
 * update_msr_access: recompute the MSR permission map after CPUID or the filter changed; vm->srcu
 *	held. A new vCPU's denies all.
 * update_cpuid: CPUID changed: controls that depend on the guest's features.
 * get_msr, set_msr: MSRs only the backend knows; 0, 1 (#GP), -ENOENT (not mine). @host: userspace
 *	asks.
 * set_tsc: cpu.tsc_offset or cpu.tsc_ratio changed.
 * flush_tlb: this vCPU's guest-physical and combined translations, before the next entry.
 * set_root: nested page table root changed.
 * sync_debug: the guest owned its debug registers: copy them (the CPU's DR0..DR3 too) to cpu.debug,
 *	end guest_owned and intercept MOV DR again; interrupts off.
 * set_dr7: control block follows cpu.debug.
 * nested_exit: a VM exit to L1 that event_next() or event_settle() planned. May sleep.
 * nested_intercepts: in L2, would L1 have an exit for the instruction that was decoded? @e's
 *	general registers are valid. May sleep.
 * nested_pages: what L1 names by address is looked up and checked (REQ_NESTED_PAGES), before the
 *	next entry. May sleep.
 * nested_fault: an emulated access of L2's met a fault of L1's nested paging
 *	(mmu_nested_take_fault()). May sleep.
 * nested_get: KVM_GET_NESTED_STATE; returns the size it needs, and fills in all of it if @user is
 *	not NULL; -EFAULT. May sleep.
 * nested_set: KVM_SET_NESTED_STATE; @head is the copy of the fixed part. 0 or an errno; touches no
 *	guest memory. May sleep.
 * nested_smm_save: SMM is about to be entered from L2; what RSM needs beside L2's registers goes
 *	into @s and guest memory. 0 or -EFAULT, and nothing of the vCPU changes. May sleep.
 * nested_smm_leave: then: L1's level is the current one, with L1's registers.
 * nested_rsm: RSM's save area has been checked; if it is of L2, L2's level becomes the current one,
 *	its registers still to be loaded. 0, or -EINVAL if there is no way back, and nothing has
 *	changed. May sleep.
 * fail_entry_dump: print the control block, rate limited.
 */
#define BACKEND_OPS(OP)						\
	OP(int, enable, (void))					\
	OP(void, disable, (void))				\
	OP(void, crash, (void))					\
	OP(int, vm_init, (struct vm *vm))			\
	OP(void, vm_destroy, (struct vm *vm))			\
	OP(int, vcpu_init, (struct vcpu *v))			\
	OP(void, vcpu_destroy, (struct vcpu *v))		\
	OP(void, vcpu_load, (struct vcpu *v, int cpu))		\
	OP(void, vcpu_put, (struct vcpu *v))			\
	OP(void, reset, (struct vcpu *v, bool init))		\
	OP(void, cache_reg, (struct vcpu *v, enum reg reg))	\
	OP(void, get_segments, (struct vcpu *v, struct emu_seg *seg)) \
	OP(void, get_segment, (struct vcpu *v, struct kvm_segment *s, enum seg seg)) \
	OP(void, set_segment, (struct vcpu *v, const struct kvm_segment *s, enum seg seg)) \
	OP(void, get_dt, (struct vcpu *v, struct kvm_dtable *dt, bool idt)) \
	OP(void, set_dt, (struct vcpu *v, const struct kvm_dtable *dt, bool idt)) \
	OP(void, set_cr0, (struct vcpu *v))			\
	OP(void, set_cr3, (struct vcpu *v))			\
	OP(void, set_cr4, (struct vcpu *v))			\
	OP(void, set_efer, (struct vcpu *v))			\
	OP(int, cpl, (struct vcpu *v))				\
	OP(u8, shadow, (struct vcpu *v))			\
	OP(void, set_shadow, (struct vcpu *v, u8 shadow))	\
	OP(u64, take_pending_dbg, (struct vcpu *v))		\
	OP(bool, skip, (struct vcpu *v))			\
	OP(void, enter, (struct vcpu *v))			\
	OP(void, after_enter, (struct vcpu *v))			\
	OP(enum exit_result, handle_exit, (struct vcpu *v))	\
	OP(void, inject, (struct vcpu *v))			\
	OP(void, windows, (struct vcpu *v, const struct event_plan *p)) \
	OP(void, view, (struct vcpu *v, struct event_view *view)) \
	OP(void, exit_info, (struct vcpu *v, u32 *reason, u64 *info1, u64 *info2)) \
	OP(void, update_intercepts, (struct vcpu *v))		\
	OP(void, update_msr_access, (struct vcpu *v))		\
	OP(void, update_cpuid, (struct vcpu *v))		\
	OP(int, get_msr, (struct vcpu *v, u32 msr, u64 *val, bool host)) \
	OP(int, set_msr, (struct vcpu *v, u32 msr, u64 val, bool host)) \
	OP(void, set_tsc, (struct vcpu *v))			\
	OP(void, flush_tlb, (struct vcpu *v))			\
	OP(void, set_root, (struct vcpu *v))			\
	OP(void, sync_debug, (struct vcpu *v))			\
	OP(void, set_dr7, (struct vcpu *v))			\
	OP(enum exit_result, nested_exit, (struct vcpu *v, const struct event_plan *p)) \
	OP(bool, nested_intercepts, (struct vcpu *v, const struct emu *e)) \
	OP(enum exit_result, nested_pages, (struct vcpu *v))	\
	OP(enum exit_result, nested_fault, (struct vcpu *v))	\
	OP(int, nested_get, (struct vcpu *v, struct kvm_nested_state __user *user)) \
	OP(int, nested_set, (struct vcpu *v, const struct kvm_nested_state *head, const struct kvm_nested_state __user *user)) \
	OP(int, nested_smm_save, (struct vcpu *v, struct smram_state *s)) \
	OP(void, nested_smm_leave, (struct vcpu *v))		\
	OP(int, nested_rsm, (struct vcpu *v, const struct smram_state *s)) \
	OP(void, fail_entry_dump, (struct vcpu *v))

struct backend_ops {
#define OP(ret, name, args) ret (*name) args;
	BACKEND_OPS(OP)
#undef OP
};

#define OP(ret, name, args) DECLARE_STATIC_CALL(backend_##name, *((struct backend_ops *)0)->name);
BACKEND_OPS(OP)
#undef OP

#define backend_call(name) static_call(backend_##name)

/**
 * struct backend - what a backend offers
 * @check: does this CPU have it, with everything DESIGN.md's ground rules ask for; fills
 *	backend_caps; says what is missing with pr_err. 0, -ENODEV (not this vendor: silent),
 *	-EOPNOTSUPP.
 * @setup: allocate per-CPU areas; may sleep
 * @unsetup: free them
 * @ops: the rows
 */
struct backend {
	int (*check)(struct backend_caps *caps);
	int (*setup)(void);
	void (*unsetup)(void);
	const struct backend_ops *ops;
};

extern const struct backend svm_backend;
extern const struct backend vmx_backend;

#endif
