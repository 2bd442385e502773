/* SPDX-License-Identifier: GPL-2.0 */
/*
 * CPU hotplug state and syscore operations, which 6.1 and 6.12 name differently.
 *
 * The HAVE_* tests are set by Kbuild.include, which looks into the headers.
 */
#ifndef STRATA_COMPAT_HOST_H
#define STRATA_COMPAT_HOST_H

#include <linux/cpuhotplug.h>
#include <linux/syscore_ops.h>

/* The hotplug state of KVM providers: moved from the STARTING to the ONLINE section in 6.3. */
#ifdef HAVE_CPUHP_AP_KVM_ONLINE
#define VIRT_CPUHP_STATE CPUHP_AP_KVM_ONLINE
#else
#define VIRT_CPUHP_STATE CPUHP_AP_KVM_STARTING
#endif

/* struct syscore with a data argument: newer stable trees. */
#ifdef HAVE_STRUCT_SYSCORE
#define SYSCORE_ARG void *unused
#define DEFINE_SYSCORE(name, suspend_fn, resume_fn)						\
	static const struct syscore_ops name##_ops = { .suspend = suspend_fn, .resume = resume_fn };	\
	static struct syscore name = { .ops = &name##_ops }
#define syscore_add(name) register_syscore(name)
#define syscore_del(name) unregister_syscore(name)
#else
#define SYSCORE_ARG void
#define DEFINE_SYSCORE(name, suspend_fn, resume_fn)						\
	static struct syscore_ops name = { .suspend = suspend_fn, .resume = resume_fn }
#define syscore_add(name) register_syscore_ops(name)
#define syscore_del(name) unregister_syscore_ops(name)
#endif

#endif
