/* SPDX-License-Identifier: GPL-2.0 */
/* The ioctls of this room, for the tables of arch/x86/ioctl.c. */
#ifndef STRATA_CPU_ROWS_H
#define STRATA_CPU_ROWS_H

#include "../../../virt/ioctl.h"

extern const struct ioctl_row cpuid_dev_ioctls[], msr_dev_ioctls[], mce_dev_ioctls[],
	fpu_dev_ioctls[];
extern const unsigned int cpuid_nr_dev_ioctls, msr_nr_dev_ioctls, mce_nr_dev_ioctls,
	fpu_nr_dev_ioctls;

extern const struct ioctl_row msr_vm_ioctls[], tsc_vm_ioctls[];
extern const unsigned int msr_nr_vm_ioctls, tsc_nr_vm_ioctls;

extern const struct ioctl_row cpuid_vcpu_ioctls[], msr_vcpu_ioctls[], mce_vcpu_ioctls[],
	regs_vcpu_ioctls[];
extern const unsigned int cpuid_nr_vcpu_ioctls, msr_nr_vcpu_ioctls, mce_nr_vcpu_ioctls,
	regs_nr_vcpu_ioctls;
extern const struct ioctl_row fpu_vcpu_ioctls[], debug_vcpu_ioctls[], tsc_vcpu_ioctls[];
extern const unsigned int fpu_nr_vcpu_ioctls, debug_nr_vcpu_ioctls, tsc_nr_vcpu_ioctls;
/* pv/clock.c */
extern const struct ioctl_row clock_vm_ioctls[], clock_vcpu_ioctls[];
extern const unsigned int clock_nr_vm_ioctls, clock_nr_vcpu_ioctls;

#endif
