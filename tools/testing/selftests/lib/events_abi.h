/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What Documentation/abi-events.rst says of KVM_SET_VCPU_EVENTS, written once more: what is
 * refused, and what is read back.
 */
#ifndef STRATA_SELFTEST_EVENTS_ABI_H
#define STRATA_SELFTEST_EVENTS_ABI_H

#include "state.h"

bool events_refused(const struct vm_config *c, const struct kvm_vcpu_events *in);
/*
 * What KVM_GET_VCPU_EVENTS gives behind a SET that was not refused. @old: before it. @amd: SVM has
 * one shadow.
 */
void events_read_back(const struct vm_config *c, bool amd, const struct kvm_vcpu_events *in,
		      const struct kvm_vcpu_events *old, struct kvm_vcpu_events *out);

#endif
