/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Events as entries want them: free of kernel interfaces, for the unit suite.
 */
#ifndef STRATA_VMX_ENTRY_INFO_H
#define STRATA_VMX_ENTRY_INFO_H

#include <linux/bits.h>
#include <linux/types.h>
#include <asm/vmx.h>

#include "../event/event.h"

/* #DF, #TS, #NP, #SS, #GP, #PF, #AC */
#define VMX_ERROR_CODES		(BIT(8) | GENMASK(14, 10) | BIT(17))
/* Bits of the error code that entries accept. Selectors have bit 15, too. */
#define VMX_ERROR_CODE_BITS	GENMASK(15, 0)

static inline u32 vmx_entry_type(const struct event *e)
{
	switch (e->type) {
	case EVENT_INTERRUPT:		return INTR_TYPE_EXT_INTR;
	case EVENT_NMI:			return INTR_TYPE_NMI_INTR;
	case EVENT_SOFT_INT:		return INTR_TYPE_SOFT_INTR;
	case EVENT_SOFT_EXCEPTION:	return INTR_TYPE_SOFT_EXCEPTION;
	case EVENT_PRIV_EXCEPTION:	return INTR_TYPE_PRIV_SW_EXCEPTION;
	default:			return INTR_TYPE_HARD_EXCEPTION;
	}
}

/**
 * vmx_entry_info() - VM-entry interruption information of an event (SDM, "Checks on VM-Entry
 * Control Fields")
 * @e: the event
 * @protected: the guest's CR0.PE
 *
 * An entry fails unless those exceptions that push an error code do, outside real mode, and no
 * other event: so it is, whatever userspace said of the one that it injects.
 */
static inline u32 vmx_entry_info(const struct event *e, bool protected)
{
	u32 info = e->vector | vmx_entry_type(e) | INTR_INFO_VALID_MASK;

	if (protected && e->type == EVENT_EXCEPTION && e->vector < 32 &&
	    (BIT(e->vector) & VMX_ERROR_CODES))
		info |= INTR_INFO_DELIVER_CODE_MASK;
	return info;
}

/**
 * vmx_entry_error() - VM-entry exception error code, where the interruption information has one
 * delivered
 * @e: the event
 */
static inline u32 vmx_entry_error(const struct event *e)
{
	return e->has_error ? e->error & VMX_ERROR_CODE_BITS : 0;
}

#endif
