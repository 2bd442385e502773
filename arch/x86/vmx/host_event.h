/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Exits that bring the host an event of its own: free of kernel interfaces, for the unit suite.
 */
#ifndef STRATA_VMX_HOST_EVENT_H
#define STRATA_VMX_HOST_EVENT_H

#include <linux/types.h>
#include <asm/vmx.h>

/*
 * Whose event it is that an exit consumed: the host runs its handler before interrupts are enabled.
 */
enum vmx_host_event { VMX_HOST_NOTHING, VMX_HOST_NMI, VMX_HOST_MACHINE_CHECK };

#define VMX_MACHINE_CHECK	18	/* vector */

/**
 * vmx_host_event() - what the host has to be given after an exit (SDM, "Basic VM-Exit Information"
 * and "VM-Entry Failures During or After Loading Guest State")
 * @reason: exit reason, all of it
 * @intr_info: VM-exit interruption information, looked at where @reason says that there is any
 *
 * NMIs and machine checks cause exits whatever the guest does, and the exit consumes them. A
 * machine check during an entry makes that entry fail. External interrupts are not consumed: they
 * come as soon as the host enables them.
 */
static inline enum vmx_host_event vmx_host_event(u32 reason, u32 intr_info)
{
	if (reason == EXIT_REASON_EXCEPTION_NMI) {
		if ((intr_info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR)
			return VMX_HOST_NMI;
		if ((intr_info & INTR_INFO_VECTOR_MASK) == VMX_MACHINE_CHECK)
			return VMX_HOST_MACHINE_CHECK;
	} else if (reason == (VMX_EXIT_REASONS_FAILED_VMENTRY | EXIT_REASON_MCE_DURING_VMENTRY)) {
		return VMX_HOST_MACHINE_CHECK;
	}
	return VMX_HOST_NOTHING;
}

/**
 * vmx_irets_unblocking() - did the exit interrupt an IRET that had unblocked NMIs already?
 * @intr_info: VM-exit interruption information of an exit by an exception
 *
 * Undefined for a double fault, and if the exit interrupted an event's delivery.
 */
static inline bool vmx_irets_unblocking(u32 intr_info)
{
	return (intr_info & INTR_INFO_UNBLOCK_NMI) && (intr_info & INTR_INFO_VECTOR_MASK) != 8 &&
	       (intr_info & INTR_INFO_INTR_TYPE_MASK) != INTR_TYPE_NMI_INTR;
}

#endif
