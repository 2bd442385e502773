/* SPDX-License-Identifier: GPL-2.0 */
/*
 * CPUID, MSRs, FPU/XSAVE, debug registers and clocks of a vCPU: the state, and what the rest of the
 * machine calls.
 *
 * One header per file of this room; this one holds the structures that are embedded in struct vm
 * and struct vcpu.
 */
#ifndef STRATA_CPU_H
#define STRATA_CPU_H

#include <linux/kvm.h>
#include <linux/types.h>
#include <linux/user-return-notifier.h>
#include <asm/fpu/types.h>

#include "cpuid.h"
#include "cr.h"
#include "debug.h"
#include "fpu.h"
#include "msr.h"
#include "tsc.h"
#include "user_return.h"

struct vm;
struct vcpu;

/**
 * struct vm_cpu - what concerns all vCPUs of a VM
 * @tsc_khz: default guest TSC frequency (KVM_SET_TSC_KHZ on the VM)
 * @tsc_ratio: scaling that goes with it, 0 for none
 * @user_space_msr: KVM_CAP_X86_USER_SPACE_MSR's KVM_MSR_EXIT_REASON_* mask
 * @msr_filter: KVM_X86_SET_MSR_FILTER, vm->virt.srcu; NULL if none
 * @tsc: writes of the TSC by userspace
 */
struct vm_cpu {
	u32 tsc_khz;
	u64 tsc_ratio;
	u32 user_space_msr;
	struct msr_filter __rcu *msr_filter;
	struct vm_tsc tsc;
};

/**
 * struct vcpu_mce - machine-check registers; (v)
 * @cap: MCG_CAP
 * @status: MCG_STATUS
 * @ctl: MCG_CTL
 * @banks: CTL, STATUS, ADDR, MISC of each bank
 */
struct vcpu_mce {
	u64 cap, status, ctl;
	u64 *banks;
};

/**
 * struct vcpu_cpu - CPU state of a vCPU outside the control block; (v)
 * @cpuid: entries of KVM_SET_CPUID2
 * @nr_cpuid: how many
 * @cpuid_table: their index
 * @features: cached answers of guest_has(): one bit per enum guest_feature
 * @maxphyaddr: guest's physical address width
 * @cr4_reserved: CR4 bits the guest must not set
 * @efer_allowed: EFER bits the guest may set
 * @spec_ctrl_allowed: SPEC_CTRL bits the guest may set
 * @in_run: between cpu_run_begin() and cpu_run_end()
 * @has_run: KVM_RUN was called: CPUID cannot change any more (the run loop sets it)
 * @fpu: guest FPU state, kernel's format
 * @xcr0: XCR0
 * @guest_xcr0_allowed: XCR0 bits CPUID offers
 * @guest_xss_allowed: IA32_XSS bits CPUID offers
 * @xss: IA32_XSS
 * @pkru: PKRU when not loaded
 * @host_pkru: the host's PKRU while the guest's is loaded
 * @xcr_switch: XCR_SWITCH_*: what xcr_load_guest() has to do; 0: not to be called at all
 * @xcr0_loaded: the CPU holds the guest's XCR0, not the host's
 * @pdptr_stale: KVM_SET_SREGS: PDPTRs are to be loaded from memory before the next entry
 *	(cr_settle())
 * @pat: IA32_PAT
 * @tsc_aux: IA32_TSC_AUX
 * @tsc_adjust: IA32_TSC_ADJUST
 * @tsc_offset: added to the scaled host TSC
 * @tsc_ratio: scaling, backend_caps.tsc_ratio_frac fraction bits; 0 where unscaled
 * @tsc_khz: guest's TSC frequency
 * @last_tsc: host TSC when it was last put
 * @tsc_shift: how much of tsc_host_shift() is in @tsc_offset
 * @spec_ctrl: IA32_SPEC_CTRL
 * @virt_spec_ctrl: AMD's VIRT_SPEC_CTRL
 * @misc_enable: IA32_MISC_ENABLE
 * @arch_capabilities: IA32_ARCH_CAPABILITIES
 * @perf_capabilities: IA32_PERF_CAPABILITIES
 * @feature_control: IA32_FEATURE_CONTROL
 * @microcode: IA32_BIOS_SIGN_ID
 * @platform_info: MSR_PLATFORM_INFO
 * @hwcr: AMD's HWCR
 * @syscfg: AMD's SYSCFG
 * @de_cfg: AMD's DE_CFG
 * @debugctl: IA32_DEBUGCTL
 * @smbase: IA32_SMBASE, 32 bits
 * @smi_count: MSR_SMI_COUNT, 32 bits
 * @mtrr: MTRRs: default type, fixed, variable
 * @mce: machine check banks
 * @debug: debug registers
 */
struct vcpu_cpu {
	struct kvm_cpuid_entry2 *cpuid;
	unsigned int nr_cpuid;
	u64 features;
	u8 maxphyaddr;
	bool has_run;
	bool in_run;
	u8 xcr_switch;
	bool pdptr_stale;
	bool xcr0_loaded;
	unsigned long cr4_reserved;
	u64 efer_allowed;
	u64 spec_ctrl_allowed;
	struct fpu_guest fpu;
	u64 xcr0;
	u64 guest_xcr0_allowed;
	u64 guest_xss_allowed;
	u64 xss;
	u32 pkru;
	u32 host_pkru;
	u64 pat;
	u64 tsc_aux;
	s64 tsc_adjust;
	u64 tsc_offset;
	u64 tsc_ratio;
	u32 tsc_khz;
	u64 last_tsc;
	u64 tsc_shift;
	u64 spec_ctrl;
	u64 virt_spec_ctrl;
	u64 misc_enable;
	u64 arch_capabilities;
	u64 perf_capabilities;
	u64 feature_control;
	u64 microcode;
	u64 platform_info;
	u64 hwcr;
	u64 syscfg;
	u64 de_cfg;
	u64 debugctl;
	u64 smbase;
	u64 smi_count;
	struct mtrr_state mtrr;
	struct vcpu_mce mce;
	struct vcpu_debug debug;
	struct cpuid_table cpuid_table;
};

/**
 * guest_has() - does the guest's CPUID offer a feature?
 * @v: struct vcpu *
 * @feature: enum guest_feature
 */
#define guest_has(v, feature) (!!((v)->cpu.features & BIT_ULL(feature)))

int cpu_vcpu_init(struct vcpu *v);
void cpu_vcpu_destroy(struct vcpu *v);
int cpu_vm_init(struct vm *vm);
void cpu_vm_destroy(struct vm *vm);
int cpu_module_init(void);

/*
 * Around KVM_RUN: guest FPU into the registers, MSRs that stay until the thread returns to user
 * mode. May sleep.
 */
void cpu_run_begin(struct vcpu *v);
void cpu_run_end(struct vcpu *v);
/* IA32_TSC_AUX changed, or within KVM_RUN the CPU did */
void cpu_tsc_aux_changed(struct vcpu *v);

/* RESET (or INIT) values of everything here */
void cpu_reset(struct vcpu *v, bool init);

#endif
