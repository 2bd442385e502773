/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Each rule of the event core is one named condition. Here EVENT_RULE() is the condition itself;
 * the model checker in tools/testing/unit/event/ defines it so that any rule can be switched off,
 * to show that it notices.
 */
#ifndef STRATA_EVENT_RULE_H
#define STRATA_EVENT_RULE_H

#ifndef EVENT_RULE
#define EVENT_RULE(name, cond) (cond)
#endif

#endif
