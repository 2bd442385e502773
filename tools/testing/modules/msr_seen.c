// SPDX-License-Identifier: GPL-2.0
/*
 * What an MSR holds around the VM entries of one process on VMX, for the selftest host_perf:
 * kprobes in front of strata's own functions.
 *
 * While the guest runs its RDMSR of @msr reads the CPU's; what the host has right behind the exit
 * is in @host, and how many MSRs the CPU had lists of, and whether it was told to load
 * IA32_PERF_GLOBAL_CTRL, in @listed and @controlled.
 */
#include "arch/x86/vmx/vmx.h"
#include "arch/x86/vmx/insn.h"

#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <asm/io.h>
#include <asm/msr.h>

#define LOW_MSRS	0x2000	/* whose read intercepts the bitmap begins with */

static int tgid;
static unsigned int msr;
static unsigned long host;
static unsigned int listed;
static bool controlled;
static unsigned long guest_field, host_field;

module_param(tgid, int, 0444);
MODULE_PARM_DESC(tgid, "the process");
module_param(msr, uint, 0644);
MODULE_PARM_DESC(msr, "the MSR, 0 for none");
module_param(host, ulong, 0444);
MODULE_PARM_DESC(host, "its value behind the last exit");
module_param(listed, uint, 0444);
MODULE_PARM_DESC(listed, "how many MSRs the lists of that entry and exit had");
module_param(controlled, bool, 0444);
MODULE_PARM_DESC(controlled, "controls of that entry and exit loaded IA32_PERF_GLOBAL_CTRL");
module_param(guest_field, ulong, 0444);
MODULE_PARM_DESC(guest_field, "what the entry was to load then");
module_param(host_field, ulong, 0444);
MODULE_PARM_DESC(host_field, "what the exit was to load then");

/* insn.h calls it. */
void vmx_insn_failed(const char *insn, u64 operand)
{
	WARN_ONCE(1, "msr_seen: %s failed, operand %llx\n", insn, operand);
}

/* The MSR that is looked at in this thread's entries, 0 for none */
static unsigned int wanted(void)
{
	unsigned int index = READ_ONCE(msr);

	return current->tgid == tgid && index < LOW_MSRS ? index : 0;
}

static void intercept(unsigned int index, bool on)
{
	unsigned long *reads = phys_to_virt(vmread(MSR_BITMAP));

	assign_bit(index, reads, on);
}

/* In front of vmx_enter(): interrupts are off, the VMCS is the vCPU's. */
static int before_entry(struct kprobe *p, struct pt_regs *regs)
{
	unsigned int index = wanted();

	if (index)
		intercept(index, false);
	return 0;
}

/* In front of vmx_after_enter() */
static int after_exit(struct kprobe *p, struct pt_regs *regs)
{
	unsigned int index = wanted();
	u64 value = 0;

	if (!index)
		return 0;
	intercept(index, true);
	rdmsrl_safe(index, &value);
	host = value;
	listed = vmread(VM_ENTRY_MSR_LOAD_COUNT);
	if (listed != vmread(VM_EXIT_MSR_LOAD_COUNT))
		listed = -1;
	guest_field = vmread(GUEST_IA32_PERF_GLOBAL_CTRL);
	host_field = vmread(HOST_IA32_PERF_GLOBAL_CTRL);
	controlled = (vmread(VM_ENTRY_CONTROLS) & VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL) &&
		     (vmread(VM_EXIT_CONTROLS) & VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL);
	return 0;
}

static struct kprobe probes[] = {
	{ .symbol_name = "strata:vmx_enter", .pre_handler = before_entry },
	{ .symbol_name = "strata:vmx_after_enter", .pre_handler = after_exit },
};
static struct kprobe *list[] = { &probes[0], &probes[1] };

static int __init msr_seen_init(void)
{
	return register_kprobes(list, ARRAY_SIZE(list));
}

static void __exit msr_seen_exit(void)
{
	unregister_kprobes(list, ARRAY_SIZE(list));
}

module_init(msr_seen_init);
module_exit(msr_seen_exit);
MODULE_DESCRIPTION("What an MSR holds in guests and behind exits, for strata's selftests");
MODULE_LICENSE("GPL");
