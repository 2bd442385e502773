// SPDX-License-Identifier: GPL-2.0
/*
 * The switch of levels as far as it is the same on SVM and VMX.
 */
#include "nested.h"

#include <linux/moduleparam.h>

bool nested_enabled = true;
module_param_named(nested, nested_enabled, bool, 0444);
MODULE_PARM_DESC(nested, "offer guests the CPU's virtualization; N once loaded where the backend cannot");

void nested_switch_regs(struct vcpu *v, const struct nested_regs *r)
{
	unsigned long cr4 = v->cr4 ^ r->cr4;

	v->cr0 = r->cr0;
	v->cr3 = r->cr3;
	v->cr4 = r->cr4;
	v->efer = r->efer;
	v->regs[REG_RIP] = r->rip;
	v->regs[REG_RSP] = r->rsp;
	v->regs[REG_RFLAGS] = r->rflags;
	v->regs_avail |= BIT(REG_RIP) | BIT(REG_RSP) | BIT(REG_RFLAGS) | BIT(REG_CR0) |
			 BIT(REG_CR3) | BIT(REG_CR4);
	v->regs_avail &= ~BIT(REG_PDPTR);
	v->regs_dirty |= BIT(REG_RIP) | BIT(REG_RSP) | BIT(REG_RFLAGS);
	v->cpu.pdptr_stale = false;
	if (unlikely(cr4 & (CR4_OSXSAVE | CR4_PKE))) {
		xcr_changed(v);
		cpuid_runtime_changed(v);
	}
}
