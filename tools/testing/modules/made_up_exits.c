// SPDX-License-Identifier: GPL-2.0
/*
 * What no guest can do and no emulator does, made up in the exits of one process on VMX, for the
 * selftest of the same name: kprobes in front of strata's own functions.
 *
 * what=ept spoils the entry of EPT that maps @gpa, so that the CPU has an EPT misconfiguration to
 * report; what=mc puts a machine check in the place of the next exit. Once each; what=none says
 * that it was done.
 */
#include "arch/x86/vmx/vmx.h"
#include "arch/x86/vmx/insn.h"

#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <asm/io.h>
#include <asm/trapnr.h>

#define EPT_ADDRESS	GENMASK_ULL(51, 12)
#define EPT_LEAF	BIT_ULL(7)
#define EPT_RIGHTS	7ull
#define EPT_WRITE_ONLY	2ull	/* writable and not readable: no CPU takes that */

static int tgid;
static unsigned long gpa;
static char what[8] = "none";
static int irqs_on;

module_param(tgid, int, 0644);
MODULE_PARM_DESC(tgid, "the process");
module_param(gpa, ulong, 0644);
MODULE_PARM_DESC(gpa, "the guest-physical address that is spoilt");
module_param_string(what, what, sizeof(what), 0644);
MODULE_PARM_DESC(what, "ept, mc or none");
module_param(irqs_on, int, 0444);
MODULE_PARM_DESC(irqs_on, "how often the host had interrupts on when it was given what was its own");

/* insn.h calls it. */
void vmx_insn_failed(const char *insn, u64 operand)
{
	WARN_ONCE(1, "made_up_exits: %s failed, operand %llx\n", insn, operand);
}

/* True once, if @name is wanted of this thread's process. */
static bool take(const char *name)
{
	if (current->tgid != READ_ONCE(tgid) || strncmp(what, name, strlen(name)))
		return false;
	strscpy(what, "none", sizeof(what));
	return true;
}

static u64 *leaf(u64 eptp, u64 addr)
{
	unsigned int level = (eptp >> 3 & 7) + 1;
	u64 table = eptp, *entry;

	for (; level; level--) {
		entry = (u64 *)phys_to_virt(table & EPT_ADDRESS) + (addr >> (3 + 9 * level) & 511);
		if (!(*entry & EPT_RIGHTS))
			return NULL;
		if (level == 1 || (*entry & EPT_LEAF))
			return entry;
		table = *entry;
	}
	return NULL;
}

/* In front of vmx_enter(): interrupts are off, the VMCS is the vCPU's. */
static int before_entry(struct kprobe *p, struct pt_regs *regs)
{
	u64 *entry;

	if (current->tgid != READ_ONCE(tgid) || strncmp(what, "ept", 3))
		return 0;
	entry = leaf(vmread(EPT_POINTER), gpa);
	if (!entry || !take("ept"))
		return 0;
	WRITE_ONCE(*entry, (*entry & ~EPT_RIGHTS) | EPT_WRITE_ONLY);
	invept(VMX_EPT_EXTENT_GLOBAL, 0);
	return 0;
}

/* In front of vmx_after_enter(): of what ended the guest nothing has been handled. */
static int after_exit(struct kprobe *p, struct pt_regs *regs)
{
	struct vmx_vcpu *vmx = to_vmx((struct vcpu *)regs->di);

	if (!take("mc"))
		return 0;
	vmx->reason = EXIT_REASON_EXCEPTION_NMI;
	vmx->intr_info = INTR_INFO_VALID_MASK | INTR_TYPE_HARD_EXCEPTION | X86_TRAP_MC;
	if (regs->flags & X86_EFLAGS_IF)
		irqs_on++;
	return 0;
}

static struct kprobe probes[] = {
	{ .symbol_name = "strata:vmx_enter", .pre_handler = before_entry },
	{ .symbol_name = "strata:vmx_after_enter", .pre_handler = after_exit },
};
static struct kprobe *list[] = { &probes[0], &probes[1] };

static int __init made_up_exits_init(void)
{
	return register_kprobes(list, ARRAY_SIZE(list));
}

static void __exit made_up_exits_exit(void)
{
	unregister_kprobes(list, ARRAY_SIZE(list));
}

module_init(made_up_exits_init);
module_exit(made_up_exits_exit);
MODULE_DESCRIPTION("Exits that no guest and no emulator can cause, for strata's selftests");
MODULE_LICENSE("GPL");
