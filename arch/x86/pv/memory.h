/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory that paravirtual interfaces share with the guest: always of the first address space.
 * The guest's system chose the address; what lies there in system management mode is not its own.
 */
#ifndef STRATA_PV_MEMORY_H
#define STRATA_PV_MEMORY_H

#include "../strata.h"

/* Define pv_@name() as virt_guest_@name() in the first address space. */
#define PV_MEMORY(name, params, args)					\
static inline int pv_##name params					\
{									\
	u8 as_id = v->virt.as_id;					\
	int ret;							\
									\
	v->virt.as_id = 0;						\
	ret = virt_guest_##name args;					\
	v->virt.as_id = as_id;						\
	return ret;							\
}

PV_MEMORY(read, (struct vcpu *v, u64 gpa, void *buf, unsigned int len), (&v->virt, gpa, buf, len))
PV_MEMORY(write, (struct vcpu *v, u64 gpa, const void *buf, unsigned int len), (&v->virt, gpa, buf, len))
PV_MEMORY(read_nofault, (struct vcpu *v, u64 gpa, void *buf, unsigned int len), (&v->virt, gpa, buf, len))
PV_MEMORY(write_nofault, (struct vcpu *v, u64 gpa, const void *buf, unsigned int len), (&v->virt, gpa, buf, len))
PV_MEMORY(cmpxchg, (struct vcpu *v, u64 gpa, void *old, const void *new, unsigned int len), (&v->virt, gpa, old, new, len))

#undef PV_MEMORY

#endif
