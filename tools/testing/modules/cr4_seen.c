// SPDX-License-Identifier: GPL-2.0
/*
 * CR4 as the CPU has it while the guests of one process run on SVM, for the selftest cr4_mce:
 * kprobes in front of strata's own functions.
 *
 * Reads of CR4 do not exit there, so that a guest gets the CPU's. What the host has is in @host.
 */
#include "arch/x86/svm/svm.h"

#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <asm/special_insns.h>

static int tgid;
static unsigned long host;

module_param(tgid, int, 0444);
MODULE_PARM_DESC(tgid, "the process");
module_param(host, ulong, 0444);
MODULE_PARM_DESC(host, "the host's CR4 at the last entry");

/* In front of svm_enter() */
static int before_entry(struct kprobe *p, struct pt_regs *regs)
{
	if (current->tgid != tgid)
		return 0;
	host = __read_cr4();
	vmcb_pass(to_svm((struct vcpu *)regs->di)->vmcb, INTERCEPT_CR4_READ);
	return 0;
}

/* In front of svm_after_enter(): the control block is still the one that was run. */
static int after_exit(struct kprobe *p, struct pt_regs *regs)
{
	if (current->tgid == tgid)
		vmcb_intercept(to_svm((struct vcpu *)regs->di)->vmcb, INTERCEPT_CR4_READ);
	return 0;
}

static struct kprobe probes[] = {
	{ .symbol_name = "strata:svm_enter", .pre_handler = before_entry },
	{ .symbol_name = "strata:svm_after_enter", .pre_handler = after_exit },
};
static struct kprobe *list[] = { &probes[0], &probes[1] };

static int __init cr4_seen_init(void)
{
	return register_kprobes(list, ARRAY_SIZE(list));
}

static void __exit cr4_seen_exit(void)
{
	unregister_kprobes(list, ARRAY_SIZE(list));
}

module_init(cr4_seen_init);
module_exit(cr4_seen_exit);
MODULE_DESCRIPTION("The CPU's CR4 in guests, for strata's selftests");
MODULE_LICENSE("GPL");
